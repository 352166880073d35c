package imagetar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Wanted is the image that a tarball is to hold, as its registry has it.
type Wanted struct {
	Image
	// Index is the index in which the image was found; nil where it was in none.
	Index []byte
	// Select picks the image of an index that a tarball has in place of Index and
	// that does not name Manifest. It is required.
	Select func(index []byte) (v1.Descriptor, error)

	digest, index v1.Hash // of Manifest and of Index; set by Compare
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
	if !slices.ContainsFunc(comparison.Parts, func(p Part) bool { return p.State.differs() }) {
		contradiction, err := c.contradiction(&w, parsed, image)
		if err != nil {
			return nil, err
		}
		comparison.Problems = append(comparison.Problems, contradiction...)
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
	case isIndex(image.mediaType):
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

	manifestPart := Part{Part: "manifest", Digest: w.digest, State: Differs, Found: found}
	theirs := &Manifest{}
	if m := c.find(blobName(found)); m != nil && m.document != nil {
		var err error
		if theirs, err = Parse(m.document); err != nil {
			return nil, fmt.Errorf("in place of the manifest, %s: %w", found, err)
		}
		manifestPart.Found, manifestPart.Member = m.digest, m.name
	}
	below := c.parts(wanted, blobName(theirs.Config.Digest), layerNames(theirs))
	if madeUp(below) && manifestPart.Found == found {
		manifestPart.State = NotKept
	}
	return append(append(parts, manifestPart), below...), nil
}

// contradiction is what is wrong where the layout has the wanted image, and
// manifest.json, which older programs read, another one. Of an index that is none: it
// has one of its images.
func (c *Contents) contradiction(w *Wanted, wanted *Manifest, image *storedImage) ([]Problem, error) {
	if image.docker != nil || image.digest == w.index || isIndex(image.mediaType) || c.members["manifest.json"] == nil {
		return nil, nil
	}
	docs, err := c.dockerImages()
	if err != nil {
		return nil, err
	}
	theirs, err := c.choose(docs, w, wanted.Config.Digest)
	if err != nil {
		return nil, nil //nolint:nilerr // it names none that could be meant
	}
	for _, p := range c.parts(wanted, theirs.docker.Config, theirs.docker.Layers) {
		if p.State.differs() {
			return []Problem{{Member: "manifest.json", Reason: "it names another image than index.json: " + p.Part + " " + string(p.State)}}, nil
		}
	}
	return nil, nil
}

// madeUp says whether a manifest that differs is so by necessity: docker's classic
// image store has layers uncompressed, and writes a manifest for those.
func madeUp(parts []Part) bool {
	uncompressed := false
	for _, p := range parts {
		uncompressed = uncompressed || p.State == Uncompressed
		if p.State.differs() {
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
