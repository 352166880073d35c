package main

import (
	"context"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// attributesOf are the extended attributes that a copy of a node is given, none where
// it stands for no content. How much of it is in the cache says nothing of a copy.
func attributesOf(ctx context.Context, node tree.Node) ([]tree.Attribute, error) {
	if inner, ok := node.(tree.Attributed); ok {
		return inner.Attributes(ctx)
	}
	described, ok := node.(tree.Described)
	if !ok {
		return nil, nil
	}
	d, err := described.Describe(ctx)
	if err != nil {
		return nil, err
	}
	var all []tree.Attribute
	for _, a := range d.Attributes() {
		if a.Name != tree.CachedAttribute {
			all = append(all, a)
		}
	}
	return all, nil
}
