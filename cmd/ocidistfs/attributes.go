package main

import (
	"context"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// digestAttribute is the extended attribute that has the digest of a file's bytes.
const digestAttribute = "user.oci.digest"

// attributed is a node that has extended attributes, by their names.
type attributed interface {
	tree.Node
	Attributes(ctx context.Context) (map[string]string, error)
}

// attributesOf are the extended attributes of a file; those of directories may cost a
// request, and what has none has no attributes.
func attributesOf(ctx context.Context, node tree.Node) (map[string]string, error) {
	a, ok := node.(attributed)
	if _, isFile := node.(tree.File); !ok || !isFile {
		return nil, nil
	}
	return a.Attributes(ctx)
}
