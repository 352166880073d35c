package imagetar

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A storedImage is one image of a tarball, as the tarball has it.
type storedImage struct {
	names []string // "host/repository:tag" or "tag"
	// digest is that of its manifest or index; the zero Hash in a tarball of
	// docker's, which keeps none.
	digest    v1.Hash
	mediaType types.MediaType
	docker    *dockerManifest
}

// The formats of tarballs.
const (
	formatOCI    = "oci"    // an OCI image layout, which keeps digests
	formatDocker = "docker" // docker load's manifest.json alone
)

// images lists the images of a tarball. A layout goes before docker's manifest.json,
// since it keeps digests.
func (c *Contents) images() (format string, images []storedImage, err error) {
	switch {
	case c.members["index.json"] != nil:
		images, err = c.layoutImages()
		return formatOCI, images, err
	case c.members["manifest.json"] != nil:
		images, err = c.dockerImages()
		return formatDocker, images, err
	}
	return "", nil, errors.New("neither index.json nor manifest.json is in it: it is no tarball of an image")
}

// layoutImages are those of index.json.
func (c *Contents) layoutImages() ([]storedImage, error) {
	b := c.documentOf("index.json")
	if b == nil {
		return nil, errors.New("index.json is no document, or there twice")
	}
	entries, err := entriesOf(b)
	if err != nil {
		return nil, fmt.Errorf("index.json: %w", err)
	}
	var images []storedImage
	for _, e := range entries {
		if e.Annotations[subjectAnnotation] != "" || e.Annotations[referenceTypeAnnotation] != "" {
			continue // which is about an image
		}
		digest, err := v1.NewHash(e.Digest)
		if err != nil {
			return nil, fmt.Errorf("index.json: digest %.80q is not sha256", e.Digest)
		}
		image := storedImage{digest: digest, mediaType: e.MediaType}
		for _, key := range []string{imageNameAnnotation, refNameAnnotation} {
			if name := e.Annotations[key]; name != "" {
				image.names = append(image.names, name)
			}
		}
		images = append(images, image)
	}
	return images, nil
}

// dockerImages are those of manifest.json.
func (c *Contents) dockerImages() ([]storedImage, error) {
	b := c.documentOf("manifest.json")
	if b == nil {
		return nil, errors.New("manifest.json is no document, or there twice")
	}
	docs, err := list[dockerManifest](b, "images", maxEntries, errTooManyEntries)
	if err != nil {
		return nil, fmt.Errorf("manifest.json: %.200s", err.Error())
	}
	var images []storedImage
	for i := range docs {
		if len(docs[i].Layers) > maxLayers {
			return nil, fmt.Errorf("manifest.json: %w", errTooManyLayers)
		}
		images = append(images, storedImage{names: docs[i].RepoTags, docker: &docs[i]})
	}
	return images, nil
}

// called says whether the image has the name, or at least its tag where the tarball
// does not say more.
func (s *storedImage) called(name Name) bool {
	if name == (Name{}) {
		return false
	}
	full := name.String()
	return slices.ContainsFunc(s.names, func(n string) bool {
		return n == full || n == familiar(full) || n == name.Tag
	})
}

// exactly says whether the image has the whole name.
func (s *storedImage) exactly(name Name) bool {
	return name != (Name{}) && slices.ContainsFunc(s.names, func(n string) bool {
		return n == name.String() || n == familiar(name.String())
	})
}

// choose picks the image that is meant: by its name, else the only one, else by its
// digest or config.
func (c *Contents) choose(images []storedImage, w *Wanted, config v1.Hash) (*storedImage, error) {
	for _, is := range []func(*storedImage) bool{
		func(s *storedImage) bool { return s.exactly(w.Name) },
		func(s *storedImage) bool { return s.called(w.Name) },
		func(*storedImage) bool { return len(images) == 1 },
		func(s *storedImage) bool { return s.docker == nil && (s.digest == w.digest || s.digest == w.index) },
		func(s *storedImage) bool { return s.docker != nil && c.part("", config, s.docker.Config).State == OK },
	} {
		for i := range images {
			if is(&images[i]) {
				return &images[i], nil
			}
		}
	}
	var names []string
	for _, s := range images {
		for _, name := range s.names {
			names = append(names, fmt.Sprintf("%.200q", name)) // which anybody may have chosen
		}
	}
	switch {
	case len(images) == 0:
		return nil, errors.New("there is no image in it")
	case len(names) > maxNamed:
		names = append(names[:maxNamed], fmt.Sprintf("%d more", len(names)-maxNamed))
	}
	return nil, fmt.Errorf("%d images are in it, and it is none of them: %s", len(images), strings.Join(names, ", "))
}

// maxNamed is how many names an error has.
const maxNamed = 32

// extra lists the members that nothing in the tarball refers to, whichever image
// that is of.
func (c *Contents) extra(images []storedImage) []string {
	for _, name := range []string{"oci-layout", "index.json", "manifest.json", "repositories"} {
		c.find(name)
	}
	seen := map[v1.Hash]bool{}
	if b := c.documentOf("index.json"); b != nil {
		if entries, err := entriesOf(b); err == nil {
			c.reach(entries, seen, maxNested)
		}
	}
	if b := c.documentOf("manifest.json"); b != nil {
		if docs, err := list[dockerManifest](b, "images", maxEntries, errTooManyEntries); err == nil {
			for i := range docs {
				images = append(images, storedImage{docker: &docs[i]})
			}
		}
	}
	for _, s := range images {
		if s.docker == nil {
			continue
		}
		c.find(s.docker.Config)
		for _, layer := range s.docker.Layers {
			c.find(layer)
		}
	}
	extra := []string{}
	for _, name := range c.names {
		if m := c.members[name]; !m.used && !m.isLegacy() {
			extra = append(extra, name)
		}
	}
	return extra
}

// legacyDir is a directory that docker's versions before 1.10 have for each layer.
var legacyDir = regexp.MustCompile(`^[0-9a-f]{64}$`)

// isLegacy says whether a member is what only docker's versions before 1.10, and
// docker2aci, look at, and no layer.
func (m *stored) isLegacy() bool {
	dir, base := path.Split(m.name)
	switch dir = path.Clean(dir); {
	case dir == "refs":
		return true
	case !legacyDir.MatchString(dir):
		return false
	}
	return base == "json" || base == "VERSION" || base == "layer.tar" && m.link != ""
}

// maxNested is how deep indexes are in indexes.
const maxNested = 8

// reach marks what entries of an index refer to. Each blob is looked into once.
func (c *Contents) reach(entries saveEntries, seen map[v1.Hash]bool, depth int) {
	if depth == 0 {
		return
	}
	for _, e := range entries {
		digest, err := v1.NewHash(e.Digest)
		if err != nil || seen[digest] {
			continue
		}
		seen[digest] = true
		b := c.documentOf(blobName(digest))
		if b == nil {
			continue
		}
		var document struct {
			Manifests saveEntries `json:"manifests"`
			Config    saveEntry   `json:"config"`
			Layers    saveEntries `json:"layers"`
		}
		if json.Unmarshal(b, &document) != nil {
			continue
		}
		c.reach(document.Manifests, seen, depth-1)
		for _, blob := range append(document.Layers, document.Config) {
			if digest, err := v1.NewHash(blob.Digest); err == nil {
				c.find(blobName(digest))
			}
		}
	}
}
