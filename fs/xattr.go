package fs

import (
	"context"
	"strings"
	"syscall"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// lastErrorName is the extended attribute of any node: the last failure of
// an operation on the node or, of a directory, on a name directly in it, as a line
// of .ocidistfs/errors has it, for as long as it is one. Where nothing failed there
// is none. To ask for it asks no registry.
const lastErrorName = tree.AttributePrefix + "last_error"

func (n *node) Getxattr(ctx context.Context, name string, p []byte) (uint32, syscall.Errno) {
	if inner, ok := n.tree.(tree.Attributed); ok && name != lastErrorName {
		return n.innerAttribute(ctx, inner, name, p)
	}
	if !strings.HasPrefix(name, tree.AttributePrefix) {
		return 0, syscall.ENODATA
	}
	if name == lastErrorName {
		if e, ok := n.lastError(); ok {
			return copyAttribute(p, e.line())
		}
		return 0, syscall.ENODATA
	}
	all, errno := n.attributes(ctx)
	if errno != 0 {
		return 0, errno
	}
	for _, a := range all {
		if a.Name == name {
			return copyAttribute(p, a.Value)
		}
	}
	return 0, syscall.ENODATA
}

func (n *node) Listxattr(ctx context.Context, p []byte) (uint32, syscall.Errno) {
	var names strings.Builder
	if inner, ok := n.tree.(tree.Attributed); ok {
		all, errno := n.innerNames(ctx, inner)
		if errno != 0 {
			return 0, errno
		}
		for _, name := range all {
			names.WriteString(name + "\x00")
		}
	} else if described, ok := n.tree.(tree.Described); ok && !described.Known() {
		// Programs that list the attributes of all they see, as ls does, must not ask
		// for what it stands for.
		for _, name := range tree.CertainAttributes {
			names.WriteString(name + "\x00")
		}
	} else {
		all, errno := n.attributes(ctx)
		if errno != 0 {
			return 0, errno
		}
		for _, a := range all {
			names.WriteString(a.Name + "\x00")
		}
	}
	if _, ok := n.lastError(); ok {
		names.WriteString(lastErrorName + "\x00")
	}
	return copyAttribute(p, names.String())
}

// attributes are those of the content that the node stands for, if it does.
func (n *node) attributes(ctx context.Context) (all []tree.Attribute, errno syscall.Errno) {
	described, ok := n.tree.(tree.Described)
	if !ok {
		return nil, 0
	}
	errno = n.do(ctx, "", func(ctx context.Context) error {
		d, err := described.Describe(ctx)
		if err == nil {
			all = d.Attributes()
		}
		return err
	})
	return all, errno
}

// lastError is the node's last failure. Where several names lead to a file, as
// they do where it has the same content under several tags, go-fuse knows one of them
// best, and took that for its failures too.
func (n *node) lastError() (logEntry, bool) {
	return n.mount.errors.last(n.path(), n.IsDir())
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
