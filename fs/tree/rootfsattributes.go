package tree

import (
	"bytes"
	"context"
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/registry"
)

// The extended attributes of files and directories in an image that say where they are from.
const (
	// LayerAttribute is the digest of the layer.
	LayerAttribute = AttributePrefix + "layer"
	// HistoryAttribute is the line of the image's history that made the layer, a JSON
	// object.
	HistoryAttribute = AttributePrefix + "history"
)

// An Attributed is a Node with extended attributes of its own.
type Attributed interface {
	Node
	// Attributes are all that are known without a request.
	Attributes(ctx context.Context) ([]Attribute, error)
	// Attribute returns one, which may cost a request; ok says whether there is one.
	Attribute(ctx context.Context, name string) (value string, ok bool, err error)
}

var (
	_ Attributed = rootfsDir{}
	_ Attributed = rootfsFile{}
	_ Attributed = rootfsLink{}
	_ Attributed = rootfsSpecial{}
)

// Attributes are those that the image gives the file, and where it is from. The kernel
// hands out user attributes of files and directories alone (xattr(7)).
func (n innerNode) Attributes(ctx context.Context) ([]Attribute, error) {
	a, err := n.image.files.Attr(ctx, n.node)
	if err != nil {
		return nil, err
	}
	all := make([]Attribute, 0, len(a.Xattrs)+2)
	layer, ok := n.layer()
	for _, x := range a.Xattrs {
		// A copy of what was in an image may have brought its own.
		if !ok || x.Name != LayerAttribute && x.Name != HistoryAttribute {
			all = append(all, Attribute{x.Name, x.Value})
		}
	}
	if !ok {
		return all, nil
	}
	all = append(all, Attribute{LayerAttribute, n.image.layers[layer].Digest.String()})
	if config, err := n.image.configOf(ctx, false); err == nil && config.history(layer) != "" {
		all = append(all, Attribute{HistoryAttribute, config.history(layer)})
	}
	return all, nil
}

func (n innerNode) Attribute(ctx context.Context, name string) (string, bool, error) {
	if layer, ok := n.layer(); ok && name == HistoryAttribute {
		config, err := n.image.configOf(ctx, true)
		return config.history(layer), config.history(layer) != "", err
	}
	all, err := n.Attributes(ctx)
	for _, a := range all {
		if a.Name == name {
			return a.Value, true, nil
		}
	}
	return "", false, err
}

// layer is the position of the layer that a file or directory is from. The root directory is
// from none.
func (n innerNode) layer() (int, bool) {
	if t := n.mode(); t != 0 && !t.IsDir() {
		return 0, false
	}
	layer, _ := n.image.files.Source(n.node)
	return layer, layer >= 0
}

// A layerConfig is what the config of an image says of its layers.
type layerConfig struct {
	diffIDs []v1.Hash // none where it does not say so of each
	lines   []string  // of the history, "" where there is none
}

func (c *layerConfig) history(layer int) string {
	if c == nil || layer >= len(c.lines) || len(c.lines[layer]) > maxAttribute {
		return ""
	}
	return c.lines[layer]
}

// layerConfigOf is what a config says of so many layers.
func layerConfigOf(config []byte, layers int) *layerConfig {
	c := &layerConfig{}
	diffIDs, lines := layersOf(config)
	for _, text := range diffIDs {
		if h, err := registry.ParseDigest(text); err == nil {
			c.diffIDs = append(c.diffIDs, h)
		}
	}
	if len(diffIDs) != layers || len(c.diffIDs) != layers {
		c.diffIDs = nil
	}
	for n, line := range lines {
		text := ""
		var b bytes.Buffer
		if _, err := registry.ParseDigest(diffIDs[n]); err == nil && json.Compact(&b, line) == nil {
			text = b.String()
		}
		c.lines = append(c.lines, text)
	}
	return c
}

// configOf returns what the config says, or nil where it cannot be read. It is asked for only
// where fetch says so: otherwise it is nil too where the config is not at hand.
func (i *rootfsImage) configOf(ctx context.Context, fetch bool) (*layerConfig, error) {
	if known := i.said.Load(); known != nil {
		return known, nil
	}
	if i.config.Size > maxConfig || !fetch && i.repo.local.Kept(i.config.Digest) < i.config.Size {
		return nil, nil
	}
	b, err := i.repo.readBlob(ctx, i.config)
	if err != nil {
		return nil, err
	}
	c := layerConfigOf(b, len(i.layers))
	i.said.Store(c)
	return c, nil
}
