package fs

import (
	"context"
	"strings"
	"syscall"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// userPrefix is that of attributes that who may read the file may read (xattr(7)). The kernel
// leaves it to us to check that.
const userPrefix = "user."

// trustedPrefix is that of attributes that root alone sees. The kernel asks nobody else's of
// us, but lists what we do.
const trustedPrefix = "trusted."

// aclPrefix is that of access control lists, which the kernel does not ask us for: who saw
// one listed would be told that there is none.
const aclPrefix = "system.posix_acl_"

// innerAttribute is an extended attribute of what is in an image: those that the image gives
// it, as they are there, and where it is from.
func (n *node) innerAttribute(ctx context.Context, inner tree.Attributed, name string, p []byte) (uint32, syscall.Errno) {
	who := n.mount.whoIs(ctx)
	var value string
	ok := false
	errno := n.do(ctx, "", func(ctx context.Context) (err error) {
		if strings.HasPrefix(name, userPrefix) && !who.mounter {
			attr, err := inner.Attr(ctx)
			if err != nil {
				return err
			}
			if err := who.permit(attr, readBit); err != nil {
				return err
			}
		}
		value, ok, err = inner.Attribute(ctx, name)
		return err
	})
	switch {
	case errno != 0:
		return 0, errno
	case !ok:
		return 0, syscall.ENODATA
	}
	return copyAttribute(p, value)
}

// innerNames are the names of those attributes.
func (n *node) innerNames(ctx context.Context, inner tree.Attributed) ([]string, syscall.Errno) {
	root := n.mount.whoIs(ctx).uid == 0
	var names []string
	errno := n.do(ctx, "", func(ctx context.Context) error {
		all, err := inner.Attributes(ctx)
		for _, a := range all {
			if !strings.HasPrefix(a.Name, aclPrefix) && (root || !strings.HasPrefix(a.Name, trustedPrefix)) {
				names = append(names, a.Name)
			}
		}
		return err
	})
	return names, errno
}
