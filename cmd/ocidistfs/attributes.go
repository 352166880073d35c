package main

import (
	"context"
	"maps"
	"slices"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// attributesOf are the extended attributes that a copy of a node is given, none where
// it stands for no content. How much of it is in the cache says nothing of a copy.
func attributesOf(ctx context.Context, node tree.Node) ([]tree.Attribute, error) {
	if inner, ok := node.(tree.Attributed); ok {
		return innerAttributes(ctx, inner)
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

// innerAttributes are those of what is in an image, by their names.
func innerAttributes(ctx context.Context, node tree.Attributed) ([]tree.Attribute, error) {
	all, err := node.Attributes(ctx)
	if err != nil {
		return nil, err
	}
	var sorted []tree.Attribute
	for _, name := range slices.Sorted(maps.Keys(all)) {
		sorted = append(sorted, tree.Attribute{Name: name, Value: all[name]})
	}
	return sorted, nil
}
