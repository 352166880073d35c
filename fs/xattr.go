package fs

import (
	"context"
	"syscall"
)

// lastErrorName is the one extended attribute that nodes have: the last failure of
// an operation on the node or, of a directory, on a name directly in it, as a line
// of .ocidistfs/errors has it, for as long as it is one. Where nothing failed there
// is none. Neither call below asks a registry.
const lastErrorName = "user.oci.last_error"

func (n *node) Getxattr(_ context.Context, name string, p []byte) (uint32, syscall.Errno) {
	if name != lastErrorName {
		return 0, syscall.ENODATA
	}
	e, ok := n.lastError()
	if !ok {
		return 0, syscall.ENODATA
	}
	return copyAttribute(p, e.line())
}

func (n *node) Listxattr(_ context.Context, p []byte) (uint32, syscall.Errno) {
	if _, ok := n.lastError(); !ok {
		return 0, 0
	}
	return copyAttribute(p, lastErrorName+"\x00")
}

// lastError is the node's last failure. Where several names lead to a file, as
// they do where it has the same content under several tags, go-fuse knows one of them
// best, and took that for its failures too.
func (n *node) lastError() (logEntry, bool) {
	return n.mount.errors.last(n.Path(nil), n.IsDir())
}

// copyAttribute answers as getxattr(2) and listxattr(2) do: with the length, which
// is all that is asked for where there is no room at all.
func copyAttribute(p []byte, value string) (uint32, syscall.Errno) {
	if len(p) > 0 && len(p) < len(value) {
		return uint32(len(value)), syscall.ERANGE
	}
	copy(p, value)
	return uint32(len(value)), 0
}
