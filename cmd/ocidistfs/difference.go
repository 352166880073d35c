package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A manifestDocument is a manifest or an index, as far as two are compared by name.
type manifestDocument struct {
	digest    string
	mediaType string
	bytes     []byte

	Config    *blobDescriptor   `json:"config"`
	Layers    []blobDescriptor  `json:"layers"`
	Manifests []indexDescriptor `json:"manifests"`
}

// A blobDescriptor is a config or layer in a manifest.
type blobDescriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

func (d blobDescriptor) descriptor() (v1.Descriptor, error) {
	digest, err := registry.ParseDigest(d.Digest)
	return v1.Descriptor{MediaType: types.MediaType(d.MediaType), Digest: digest, Size: d.Size}, err
}

// An indexDescriptor is a manifest in an index.
type indexDescriptor struct {
	blobDescriptor
	Platform *v1.Platform `json:"platform"`
}

// kind is the platform of an image in an index; what has none, such as an
// attestation, is not an image for one.
func (d indexDescriptor) kind() string {
	if d.Platform == nil || d.Platform.OS == "" || d.Platform.OS == "unknown" {
		return "other"
	}
	return d.Platform.String()
}

func documentOf(m cache.Manifest) (manifestDocument, error) {
	d := manifestDocument{digest: m.Digest.String(), mediaType: m.MediaType, bytes: m.Bytes}
	if err := json.Unmarshal(m.Bytes, &d); err != nil {
		return d, fmt.Errorf("manifest %s: %.200s", m.Digest, err.Error()) // which may quote all of it
	}
	return d, nil
}

// A comparison is what two images have in common, and what not.
type comparison struct {
	Same bool `json:"same"`
	// From and To are the two.
	From compared `json:"from"`
	To   compared `json:"to"`
	// Manifest are fields of the referenced manifests that differ, but for what follows.
	Manifest []change `json:"manifest"`
	// Platforms are the images of an index that not both have.
	Platforms []change `json:"platforms"`
	// Image are fields of the manifests for the platform, where those are others; Config
	// those of the configs, History the commands that made the layers.
	Image   []change    `json:"image"`
	Config  []change    `json:"config"`
	History []change    `json:"history"`
	Layers  layerChange `json:"layers"`
}

// compared is one of two images.
type compared struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType"`
	// Image is the digest of the manifest for the platform; Missing says why there is
	// none.
	Image   string `json:"image,omitempty"`
	Missing string `json:"missing,omitempty"`
}

// layerChange is which layers both images have. Each is counted once.
type layerChange struct {
	Shared      []layerOf `json:"shared"`
	From        []layerOf `json:"from"`
	To          []layerOf `json:"to"`
	SharedBytes int64     `json:"sharedBytes"`
	OldBytes    int64     `json:"oldBytes"` // of those that only the first has
	NewBytes    int64     `json:"newBytes"` // of those that only the second has
}

type layerOf struct {
	Digest string `json:"digest"`
	Size   int64  `json:"size"`
	// Recompressed is the digest of a layer of the other image with the same content.
	Recompressed string `json:"recompressed,omitempty"`
}

// comparison compares the two. Configs are fetched where they differ.
func (o *openView) comparison(ctx context.Context, sides [2]side) (*comparison, error) {
	from, to := sides[0], sides[1]
	c := &comparison{
		Same:     from.referenced.digest == to.referenced.digest,
		From:     from.compared(),
		To:       to.compared(),
		Manifest: []change{}, Platforms: []change{}, Image: []change{}, Config: []change{}, History: []change{},
		Layers: layerChange{Shared: []layerOf{}, From: []layerOf{}, To: []layerOf{}},
	}
	// Where one is an index, the image of it is compared with the other.
	of := func(d manifestDocument) fields {
		return fieldsOf(d.bytes, "manifests", "config", "layers", "mediaType")
	}
	types := func(d manifestDocument) fields { return fields{"mediaType": d.mediaType} }
	c.Manifest = append(changed(types(from.referenced), types(to.referenced)), changed(of(from.referenced), of(to.referenced))...)
	c.Platforms = changed(from.referenced.platforms(), to.referenced.platforms())
	if c.From.Missing != "" || c.To.Missing != "" { // then there is no more to compare
		return c, nil
	}
	isIndex := len(from.referenced.Manifests)+len(to.referenced.Manifests) > 0
	if isIndex && from.resolved.digest != to.resolved.digest {
		c.Image = append(changed(types(from.resolved), types(to.resolved)), changed(of(from.resolved), of(to.resolved))...)
	}
	diffIDs := [2][]string{}
	if !sameConfig(from.resolved.Config, to.resolved.Config) {
		var configs [2][]byte
		for i, sd := range sides {
			var err error
			if configs[i], err = sd.config(ctx); err != nil {
				return nil, err
			}
			diffIDs[i] = diffIDsOf(configs[i])
		}
		c.Config = changed(fieldsOf(configs[0], "history", "rootfs"), fieldsOf(configs[1], "history", "rootfs"))
		c.History = changedLines(historyOf(configs[0]), historyOf(configs[1]))
	}
	c.Layers = comparedLayers(from.resolved.Layers, to.resolved.Layers, diffIDs)
	return c, nil
}

func sameConfig(a, b *blobDescriptor) bool {
	return a == b || a != nil && b != nil && a.Digest == b.Digest
}

func (sd side) compared() compared {
	c := compared{Reference: sd.ref.String(), Digest: sd.referenced.digest, MediaType: sd.referenced.mediaType, Image: sd.resolved.digest}
	if sd.missing != nil {
		c.Missing = sd.missing.Error()
	}
	return c
}

// platforms are the digests of an index by platform.
func (d manifestDocument) platforms() fields {
	all := map[string][]string{}
	for _, m := range d.Manifests {
		all[m.kind()] = append(all[m.kind()], m.Digest)
	}
	f := fields{}
	for kind, digests := range all {
		slices.Sort(digests)
		f[kind] = strings.Join(digests, " ")
	}
	return f
}

// comparedLayers compares layers by digest, and those that only one has by what is in
// them, where that is known.
func comparedLayers(from, to []blobDescriptor, diffIDs [2][]string) layerChange {
	c := layerChange{Shared: []layerOf{}, From: []layerOf{}, To: []layerOf{}}
	there := digestsOf(to)
	here := digestsOf(from)
	for _, l := range distinct(from) {
		one := layerOf{Digest: l.Digest, Size: l.Size}
		if there[l.Digest] {
			c.Shared = append(c.Shared, one)
			c.SharedBytes += l.Size
			continue
		}
		one.Recompressed = sameContent(from, to, diffIDs[0], diffIDs[1], l.Digest)
		c.From = append(c.From, one)
		c.OldBytes += l.Size
	}
	for _, l := range distinct(to) {
		if !here[l.Digest] {
			c.To = append(c.To, layerOf{l.Digest, l.Size, sameContent(to, from, diffIDs[1], diffIDs[0], l.Digest)})
			c.NewBytes += l.Size
		}
	}
	return c
}

func digestsOf(layers []blobDescriptor) map[string]bool {
	all := map[string]bool{}
	for _, l := range layers {
		all[l.Digest] = true
	}
	return all
}

// distinct are layers without those that are there again.
func distinct(layers []blobDescriptor) []blobDescriptor {
	seen := map[string]bool{}
	return slices.DeleteFunc(slices.Clone(layers), func(l blobDescriptor) bool {
		again := seen[l.Digest]
		seen[l.Digest] = true
		return again
	})
}

// sameContent is the layer of others that holds what a layer does; "" where there is none,
// or it is not known what they hold.
func sameContent(layers, others []blobDescriptor, ids, otherIDs []string, digest string) string {
	i := slices.IndexFunc(layers, func(l blobDescriptor) bool { return l.Digest == digest })
	if len(ids) != len(layers) || len(otherIDs) != len(others) {
		return ""
	}
	if j := slices.Index(otherIDs, ids[i]); j >= 0 {
		return others[j].Digest
	}
	return ""
}

func diffIDsOf(config []byte) []string {
	var c struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if json.Unmarshal(config, &c) != nil {
		return nil
	}
	return c.RootFS.DiffIDs
}

// historyOf are the commands that made an image, a line each.
func historyOf(config []byte) []string {
	var c struct {
		History []struct {
			CreatedBy string `json:"created_by"`
			Comment   string `json:"comment"`
		} `json:"history"`
	}
	if json.Unmarshal(config, &c) != nil {
		return nil
	}
	var lines []string
	for _, h := range c.History {
		line := strings.Join(strings.Fields(h.CreatedBy), " ")
		if line == "" {
			line = h.Comment
		}
		lines = append(lines, line)
	}
	return lines
}
