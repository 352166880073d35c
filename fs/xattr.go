package fs

import (
	"context"
	"strconv"
	"strings"
	"syscall"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// The extended attributes of nodes that stand for content, in the order in which
// they are listed: what is long comes last, since a file system that a program copies
// them to may have room for some only.
const (
	attributePrefix = "user.oci."

	digestAttribute         = attributePrefix + "digest"
	manifestDigestAttribute = attributePrefix + "manifest.digest"
	mediaTypeAttribute      = attributePrefix + "mediatype"
	sizeAttribute           = attributePrefix + "size"
	refAttribute            = attributePrefix + "ref"
	registryAttribute       = attributePrefix + "registry"
	cachedAttribute         = attributePrefix + "cached"
	annotationsAttribute    = attributePrefix + "annotations"
)

// lastErrorName is the extended attribute of any node: the last failure of
// an operation on the node or, of a directory, on a name directly in it, as a line
// of .ocidistfs/errors has it, for as long as it is one. Where nothing failed there
// is none. To ask for it asks no registry.
const lastErrorName = attributePrefix + "last_error"

// An attribute is an extended attribute of a node.
type attribute struct{ name, value string }

// maxAttribute is how long the kernel lets a value be (XATTR_SIZE_MAX), in bytes.
const maxAttribute = 64 << 10

// attributesOf are the attributes of described content.
func attributesOf(d tree.Description) []attribute {
	var all []attribute
	add := func(name, value string) {
		if value != "" && len(value) <= maxAttribute {
			all = append(all, attribute{name, value})
		}
	}
	if d.Digest != (registry.Digest{}) {
		add(digestAttribute, d.Digest.String())
	} else {
		add(manifestDigestAttribute, d.Manifest.String())
	}
	add(mediaTypeAttribute, d.MediaType)
	add(sizeAttribute, strconv.FormatInt(d.Size, 10))
	add(refAttribute, d.Ref)
	add(registryAttribute, d.Registry)
	add(cachedAttribute, strconv.FormatInt(d.Cached, 10))
	add(annotationsAttribute, string(d.Annotations))
	return all
}

// unknownNames are listed of a directory of which nobody knows yet what it stands for:
// programs that list the attributes of all they see, as ls does, must not ask for that.
var unknownNames = []string{manifestDigestAttribute, mediaTypeAttribute, sizeAttribute, refAttribute, registryAttribute, cachedAttribute}

func (n *node) Getxattr(ctx context.Context, name string, p []byte) (uint32, syscall.Errno) {
	if !strings.HasPrefix(name, attributePrefix) {
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
		if a.name == name {
			return copyAttribute(p, a.value)
		}
	}
	return 0, syscall.ENODATA
}

func (n *node) Listxattr(ctx context.Context, p []byte) (uint32, syscall.Errno) {
	var names strings.Builder
	if described, ok := n.tree.(tree.Described); ok && !described.Known() {
		for _, name := range unknownNames {
			names.WriteString(name + "\x00")
		}
	} else {
		all, errno := n.attributes(ctx)
		if errno != 0 {
			return 0, errno
		}
		for _, a := range all {
			names.WriteString(a.name + "\x00")
		}
	}
	if _, ok := n.lastError(); ok {
		names.WriteString(lastErrorName + "\x00")
	}
	return copyAttribute(p, names.String())
}

// attributes are those of the content that the node stands for, if it does.
func (n *node) attributes(ctx context.Context) (all []attribute, errno syscall.Errno) {
	described, ok := n.tree.(tree.Described)
	if !ok {
		return nil, 0
	}
	errno = n.do(ctx, "", func(ctx context.Context) error {
		d, err := described.Describe(ctx)
		if err == nil {
			all = attributesOf(d)
		}
		return err
	})
	return all, errno
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
