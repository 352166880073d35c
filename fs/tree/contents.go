package tree

import (
	"fmt"
	"strings"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/registry"
)

// errNoBlobs is why something that is neither image nor artifact has no layers:
// such as an index, or a manifest of schema 1.
const errNoBlobs absence = "its manifest names no config and layers"

// contents is what the manifest of an image or artifact refers to. It is immutable.
type contents struct {
	config v1.Descriptor
	layers []v1.Descriptor
	names  []string // of the layers, in layers/
	image  bool     // a container image, no other artifact
}

// A manifestID is what contents follow from, with the manifest by its digest.
type manifestID struct {
	digest    registry.Digest
	mediaType string
}

// rememberedContents bounds how many contents are in memory. Most take a few KiB,
// those of a thousand layers half a MiB.
const rememberedContents = 64

// contents returns what a manifest refers to. The error is errNoBlobs where it is of
// a kind that refers to nothing, and [ErrNotImage] where it cannot be used.
func (r *repository) contents(m cache.Manifest) (*contents, error) {
	key := manifestID{m.Digest, m.MediaType}
	if c, ok := r.tree.contents.Get(key); ok {
		return c, nil
	}
	if t := mediaType(m); t != types.OCIManifestSchema1 && t != types.DockerManifestSchema2 {
		return nil, fmt.Errorf("%s@%s: %w: it is %.80q", r.name(), m.Digest, errNoBlobs, m.MediaType)
	}
	parsed, err := imagetar.Parse(m.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s@%s: %w: %w", r.name(), m.Digest, ErrNotImage, err)
	}
	c := &contents{config: parsed.Config, layers: parsed.Layers, image: imageOnly(m) == nil}
	c.names = layerNames(c.layers, !c.image)
	r.tree.contents.Add(key, c)
	return c, nil
}

// layer returns the position of the layer of that name in layers/.
func (c *contents) layer(name string) (int, bool) {
	for i, n := range c.names {
		if n == name {
			return i, true
		}
	}
	return 0, false
}

// blob returns the descriptor of a blob by the hexadecimal digits of its digest.
func (c *contents) blob(hex string) (v1.Descriptor, bool) {
	if c.config.Digest.Hex == hex {
		return c.config, true
	}
	for _, d := range c.layers {
		if d.Digest.Hex == hex {
			return d, true
		}
	}
	return v1.Descriptor{}, false
}

// titleKey is the annotation that names the file of a blob (image-spec,
// annotations.md).
const titleKey = "org.opencontainers.image.title"

// layerNames are the names of layers in their directory: "<position>-<12 hex
// digits>" and what their media type says they are; of an artifact the titles of
// those that have one that is safe and unique.
func layerNames(layers []v1.Descriptor, titled bool) []string {
	taken := map[string]int{}
	if titled {
		for _, d := range layers {
			taken[d.Annotations[titleKey]]++
		}
	}
	names := make([]string, len(layers))
	for i, d := range layers {
		names[i] = layerStem(layers, i) + extension(d.MediaType)
		if title := d.Annotations[titleKey]; titled && taken[title] == 1 && isSafeName(title) {
			names[i] = title
		}
	}
	return names
}

// layerStem is what the names of a layer's files begin with.
func layerStem(layers []v1.Descriptor, i int) string {
	width := max(2, len(fmt.Sprint(len(layers)-1)))
	return fmt.Sprintf("%0*d-%s", width, i, layers[i].Digest.Hex[:shortDigest])
}

// shortDigest is how many hexadecimal digits of a digest are in names.
const shortDigest = 12

// isSafeName says whether a title can be a file's name for anybody who copies it:
// it is neither hidden nor an option to a program, leads nowhere, shows what it is,
// and is no name that a layer could have by its position.
func isSafeName(s string) bool {
	if s == "" || len(s) > maxFileName || strings.ContainsAny(s[:1], ".-~") || isPositional(s) {
		return false
	}
	for _, r := range s {
		if r == '/' || r == '\\' || r == utf8.RuneError || actsOnTerminal(r) {
			return false
		}
	}
	return true
}

// maxFileName is the longest name that file systems take, in bytes.
const maxFileName = 255

// isPositional says whether a name begins as those that layers have by position.
func isPositional(s string) bool {
	position, rest, found := strings.Cut(s, "-")
	return found && len(position) >= 2 && strings.Trim(position, "0123456789") == "" &&
		len(rest) >= shortDigest && strings.Trim(rest[:shortDigest], "0123456789abcdef") == ""
}

// extension is what the name of a blob ends with, by the media type that its
// manifest declares: nothing is fetched to know better.
func extension(t types.MediaType) string {
	s, encrypted := strings.CutSuffix(string(t), "+encrypted") // ocicrypt's
	ext := ".blob"
	switch {
	case s == "application/vnd.in-toto+json":
		ext = ".intoto.json"
	case strings.HasSuffix(s, "tar+gzip"), strings.HasSuffix(s, "tar.gzip"):
		ext = ".tar.gz"
	case strings.HasSuffix(s, "tar+zstd"), strings.HasSuffix(s, "tar.zstd"):
		ext = ".tar.zst"
	case strings.HasSuffix(s, ".tar"), strings.HasSuffix(s, "+tar"), strings.HasSuffix(s, "/tar"):
		ext = ".tar"
	case strings.HasSuffix(s, "+json"), strings.HasSuffix(s, "/json"):
		ext = ".blob.json"
	}
	if encrypted {
		ext += ".enc"
	}
	return ext
}
