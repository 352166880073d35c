package tree

import (
	"context"
	iofs "io/fs"
	"strings"
)

// layersView is layers/: each layer as it is stored, and beside it what is known
// of it. To name them costs no blob.
type layersView struct{}

var _ view = layersView{}

func (layersView) may(name string) bool { return name != "" }

func (layersView) names(ctx context.Context, _ imageDir, i *Image) ([]string, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	c, err := i.repo.contents(resolved)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, 2*len(c.names))
	for n := range c.layers {
		names = append(names, c.names[n], layerStem(c.layers, n)+recordSuffix)
	}
	return names, nil
}

func (layersView) node(ctx context.Context, _ imageDir, i *Image, name string) (Node, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	c, err := i.repo.contents(resolved)
	if err != nil {
		return nil, err
	}
	if n, ok := c.layer(name); ok {
		return i.repo.blobFile(resolved, layersName+"/"+name, c.layers[n]), nil
	}
	if stem, ok := strings.CutSuffix(name, recordSuffix); ok {
		for n := range c.layers {
			if layerStem(c.layers, n) == stem {
				return i.repo.layerRecord(resolved, c, n)
			}
		}
	}
	return nil, iofs.ErrNotExist
}
