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

// attributesOf are the extended attributes of a node, none where it has none. Those of a
// directory that was not listed may cost a request.
func attributesOf(ctx context.Context, node tree.Node) (map[string]string, error) {
	if a, ok := node.(attributed); ok {
		return a.Attributes(ctx)
	}
	return nil, nil
}
