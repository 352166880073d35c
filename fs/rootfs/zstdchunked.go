package rootfs

import "bytes"

// chunkedMagics are at the end of the last frame of a zstd:chunked layer, which is
// skippable: podman and buildah write the first, stargz-snapshotter the second.
var chunkedMagics = []string{"GNUlInUx", "GnUlInUx"}

func isChunkedFooter(body []byte) bool {
	for _, magic := range chunkedMagics {
		if bytes.HasSuffix(body, []byte(magic)) {
			return true
		}
	}
	return false
}
