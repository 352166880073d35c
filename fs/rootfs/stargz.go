package rootfs

import (
	"encoding/binary"
	"strconv"
)

// stargzMagic is at the end of the extra field of the last gzip member of an eStargz layer.
const stargzMagic = "STARGZ"

// stargzTOC reads the extra field of a gzip header. In an eStargz layer the last member has
// one, and nothing else, that says at which offset of the layer the member with the table of
// contents begins: 16 hexadecimal digits and a magic word, in a subfield (RFC 1952, section
// 2.3.1.1) since eStargz and without one before.
func stargzTOC(extra []byte) (off int64, ok bool) {
	const length = 16 + len(stargzMagic)
	if len(extra) == 4+length && string(extra[:2]) == "SG" && int(binary.LittleEndian.Uint16(extra[2:])) == length {
		extra = extra[4:]
	}
	if len(extra) != length || string(extra[16:]) != stargzMagic {
		return 0, false
	}
	off, err := strconv.ParseInt(string(extra[:16]), 16, 64)
	return off, err == nil && off >= 0
}
