package tree

import (
	"strconv"

	"github.com/ocidistfs/ocidistfs/registry"
)

// The extended attributes of nodes that stand for content, in the order in which
// they are listed: what is long comes last, since a file system that a program copies
// them to may have room for some only.
const (
	AttributePrefix = "user.oci."

	DigestAttribute         = AttributePrefix + "digest"
	ManifestDigestAttribute = AttributePrefix + "manifest.digest"
	MediaTypeAttribute      = AttributePrefix + "mediatype"
	SizeAttribute           = AttributePrefix + "size"
	RefAttribute            = AttributePrefix + "ref"
	RegistryAttribute       = AttributePrefix + "registry"
	CachedAttribute         = AttributePrefix + "cached"
	AnnotationsAttribute    = AttributePrefix + "annotations"
)

// CertainAttributes are those that each directory of an image has, whatever it turns
// out to stand for.
var CertainAttributes = []string{ManifestDigestAttribute, MediaTypeAttribute, RefAttribute, RegistryAttribute}

// An Attribute is an extended attribute of a node.
type Attribute struct{ Name, Value string }

// maxAttribute is how long the kernel lets a value be (XATTR_SIZE_MAX), in bytes.
const maxAttribute = 64 << 10

// Attributes are the description as extended attributes. What is not known has none,
// and what is longer than a kernel takes.
func (d Description) Attributes() []Attribute {
	var all []Attribute
	add := func(name, value string) {
		if value != "" && len(value) <= maxAttribute {
			all = append(all, Attribute{name, value})
		}
	}
	if d.Digest != (registry.Digest{}) {
		add(DigestAttribute, d.Digest.String())
	} else {
		add(ManifestDigestAttribute, d.Manifest.String())
	}
	add(MediaTypeAttribute, d.MediaType)
	if d.Size != UnknownSize {
		add(SizeAttribute, strconv.FormatInt(d.Size, 10))
	}
	add(RefAttribute, d.Ref)
	add(RegistryAttribute, d.Registry)
	if d.Size != UnknownSize {
		add(CachedAttribute, strconv.FormatInt(d.Cached, 10))
	}
	add(AnnotationsAttribute, string(d.Annotations))
	return all
}
