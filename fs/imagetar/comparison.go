package imagetar

import (
	"bytes"
	"encoding/json"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Wanted is the image that a tarball is to hold, as its registry has it.
type Wanted struct {
	Image
	// Index is the index in which the image was found; nil where it was in none.
	Index []byte
	// Select picks the image of an index that a tarball has in place of Index.
	Select func(index []byte) (v1.Descriptor, error)

	digest, index v1.Hash // of Manifest and of Index; set by Compare
}

// A State is how a part of an image in a tarball compares with the registry's.
type State string

// The states. Differs and those after it are differences.
const (
	OK           State = "ok"
	Uncompressed State = "ok, uncompressed" // a layer whose bytes are those of the diffID
	NotKept      State = "not kept"         // the manifest, in a format that has none of the registry's
	LeftOut      State = "left out"         // a layer that may not be distributed
	Differs      State = "differs"
	Ambiguous    State = "ambiguous" // it is there twice, and which one counts depends on who reads it
	Missing      State = "missing"
	Superfluous  State = "superfluous" // a layer that the registry's image does not have
)

// A Part is the manifest, the config or a layer of an image.
type Part struct {
	Part   string  `json:"part"` // "index", "manifest", "config", "layer 0"
	Digest v1.Hash `json:"digest,omitzero"`
	State  State   `json:"state"`
	// Found is the digest of what is in the tarball in its place.
	Found  v1.Hash `json:"found,omitzero"`
	Member string  `json:"member,omitempty"`
}

// A Comparison is what Compare found.
type Comparison struct {
	Format   string    `json:"format"` // "oci" or "docker"
	Names    []string  `json:"names"`  // what the tarball calls the image
	Parts    []Part    `json:"parts"`
	Extra    []string  `json:"extra"` // members that nothing refers to
	Problems []Problem `json:"problems"`
	Unsaid   int       `json:"unsaid,omitempty"` // problems that are not in the list
}

// Difference is the first difference in words, "" where the image in the tarball is
// the registry's: by the digest of its manifest where the format keeps one, else by
// its config and layers.
func (c *Comparison) Difference() string {
	for _, p := range c.Parts {
		switch p.State {
		case Differs:
			return fmt.Sprintf("%s %s differs: it has %s", p.Part, p.Digest, p.Found)
		case Ambiguous:
			return fmt.Sprintf("%s %s is there twice, with different bytes", p.Part, p.Digest)
		case Missing:
			return fmt.Sprintf("%s %s is missing", p.Part, p.Digest)
		case Superfluous:
			return fmt.Sprintf("%s is one more than the registry has", p.Part)
		}
	}
	for _, p := range c.Problems {
		if !p.Harmless {
			return fmt.Sprintf("member %.200q: %s", p.Member, p.Reason)
		}
	}
	if c.Unsaid > 0 {
		return "there are more problems with it than can be listed"
	}
	return ""
}

// Compare compares the tarball's image with the registry's. Where the tarball has
// several images, the one of the wanted name is meant, else the one of its digest. It
// fails where the tarball holds no image, or none that can be meant.
func (c *Contents) Compare(w Wanted) (*Comparison, error) {
	parsed, err := Parse(w.Manifest)
	if err != nil {
		return nil, err
	}
	w.digest, w.index = hashOf(w.Manifest), v1.Hash{}
	if w.Index != nil {
		w.index = hashOf(w.Index)
	}
	format, images, err := c.images()
	if err != nil {
		return nil, err
	}
	image, err := c.choose(images, &w, parsed.Config.Digest)
	if err != nil {
		return nil, err
	}
	comparison := &Comparison{Format: format, Names: append([]string{}, image.names...), Problems: append([]Problem{}, c.problems...), Unsaid: c.unsaid}
	if image.docker != nil {
		comparison.Parts = append([]Part{{Part: "manifest", Digest: w.digest, State: NotKept}}, c.parts(parsed, image.docker.Config, image.docker.Layers)...)
	} else if comparison.Parts, err = c.layoutParts(&w, parsed, image); err != nil {
		return nil, err
	}
	comparison.Extra = c.extra(images)
	return comparison, nil
}

func hashOf(b []byte) v1.Hash {
	h, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		panic(err) // memory can be read
	}
	return h
}

// layoutParts compares an image of a layout.
func (c *Contents) layoutParts(w *Wanted, wanted *Manifest, image *storedImage) ([]Part, error) {
	var parts []Part
	found := image.digest
	switch {
	case found == w.digest:
	case w.Index != nil && found == w.index:
		parts = append(parts, c.part("index", w.index, blobName(w.index)))
		found = w.digest
	case image.mediaType == types.OCIImageIndex || image.mediaType == types.DockerManifestList:
		b := c.documentOf(blobName(found))
		if b == nil {
			return append(parts, Part{Part: "manifest", Digest: w.digest, State: Missing}), nil
		}
		if _, err := entryOf(b, w.digest, int64(len(w.Manifest))); err == nil {
			found = w.digest
			break
		}
		d, err := w.Select(b)
		if err != nil {
			return nil, fmt.Errorf("the index in it, %s: %w", found, err)
		}
		found = d.Digest
	}
	if found == w.digest {
		parts = append(parts, c.part("manifest", w.digest, blobName(w.digest)))
		return append(parts, c.parts(wanted, blobName(wanted.Config.Digest), layerNames(wanted))...), nil
	}

	manifestPart := Part{Part: "manifest", Digest: w.digest, State: Differs, Found: found, Member: blobName(found)}
	theirs, err := Parse(c.documentOf(blobName(found)))
	if err != nil {
		// What is in its place is none; what there is besides has no order.
		return append(parts, manifestPart), nil //nolint:nilerr // it is what was found
	}
	below := c.parts(wanted, blobName(theirs.Config.Digest), layerNames(theirs))
	if madeUp(below) {
		manifestPart.State = NotKept
	}
	return append(append(parts, manifestPart), below...), nil
}

// madeUp says whether a manifest that differs is so by necessity: docker's classic
// image store has layers uncompressed, and writes a manifest for those.
func madeUp(parts []Part) bool {
	uncompressed := false
	for _, p := range parts {
		switch p.State {
		case Uncompressed:
			uncompressed = true
		case Differs, Ambiguous, Missing, Superfluous:
			return false
		}
	}
	return uncompressed
}

func layerNames(m *Manifest) []string {
	var names []string
	for _, layer := range m.Layers {
		names = append(names, blobName(layer.Digest))
	}
	return names
}

// parts compares the config and the layers, which the tarball has by these names.
func (c *Contents) parts(wanted *Manifest, config string, layers []string) []Part {
	parts := []Part{c.part("config", wanted.Config.Digest, config)}
	var diffIDs []v1.Hash
	if parts[0].State == OK {
		diffIDs = diffIDsOf(c.documentOf(config))
	}
	for i, layer := range wanted.Layers {
		name := fmt.Sprintf("layer %d", i)
		if i >= len(layers) {
			parts = append(parts, Part{Part: name, Digest: layer.Digest, State: Missing})
			continue
		}
		p := c.part(name, layer.Digest, layers[i])
		switch {
		case p.State == Differs && i < len(diffIDs) && p.Found == diffIDs[i]:
			p.State = Uncompressed
		case p.State == Missing && isForeign(layer.MediaType):
			p.State = LeftOut
		}
		parts = append(parts, p)
	}
	for i := len(wanted.Layers); i < len(layers); i++ {
		p := c.part(fmt.Sprintf("layer %d", i), v1.Hash{}, layers[i])
		p.State = Superfluous
		parts = append(parts, p)
	}
	return parts
}

// part compares the bytes of a member with a digest.
func (c *Contents) part(name string, digest v1.Hash, member string) Part {
	p := Part{Part: name, Digest: digest, State: Missing}
	m := c.find(member)
	if m == nil {
		return p
	}
	p.Member = m.name
	switch {
	case m.twice:
		p.State = Ambiguous
	case m.digest == digest:
		p.State = OK
	default:
		p.State, p.Found = Differs, m.digest
	}
	return p
}

// diffIDsOf are the digests of the uncompressed layers, as a config has them; none
// where it is not one of an image.
func diffIDsOf(config []byte) []v1.Hash {
	var document struct {
		RootFS struct {
			DiffIDs []v1.Hash `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if json.Unmarshal(config, &document) != nil {
		return nil
	}
	return document.RootFS.DiffIDs
}
