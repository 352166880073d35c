package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"regexp"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocidistfs/ocidistfs/registry"
)

func isIndex(t types.MediaType) bool {
	return t == types.OCIImageIndex || t == types.DockerManifestList
}

// An index is the entries of an index or manifest list, and the name that each has in
// platforms/, "" where it is neither an image of a platform nor an index. It is immutable.
type index struct {
	entries indexEntries
	names   []string
}

// rememberedIndexes bounds how many indexes are in memory parsed. Most take a few
// KiB, those of ten thousand entries some MiB.
const rememberedIndexes = 16

// parseIndex parses an index. What is wrong with one entry is no concern of the others.
func parseIndex(b []byte) (*index, error) {
	var document struct {
		Manifests indexEntries `json:"manifests"`
	}
	if err := json.Unmarshal(b, &document); err != nil {
		return nil, fmt.Errorf("index: %.200s", err.Error()) // which may quote all of it
	}
	x := &index{document.Manifests, make([]string, len(document.Manifests))}
	taken := map[string]bool{}
	for n, e := range x.entries {
		name := e.platformName()
		if name == "" {
			name = e.innerName()
		} else if taken[name] {
			// Such as images of one platform for several of its features.
			d, err := e.descriptor()
			if err != nil {
				continue
			}
			name += "-" + d.Digest.Hex[:shortDigest]
		}
		if name != "" && !taken[name] {
			taken[name] = true
			x.names[n] = name
		}
	}
	return x, nil
}

// named returns the entry of that name in platforms/.
func (x *index) named(name string) (indexEntry, error) {
	if n := slices.Index(x.names, name); n >= 0 && name != "" {
		return x.entries[n], nil
	}
	return indexEntry{}, iofs.ErrNotExist
}

// maxEntries bounds an index. The largest known have some hundred entries; one
// as long as a manifest may be has millions of empty ones, which would take a
// hundred times their room in memory.
const maxEntries = 10_000

var errTooManyEntries = errors.New("more than ten thousand entries")

// indexEntries are the entries of an index, as far as choosing one needs them.
type indexEntries []indexEntry

// An indexEntry is not parsed further than it must be: what is wrong with the
// images of other platforms is no concern of ours.
type indexEntry struct {
	MediaType types.MediaType `json:"mediaType"`
	Digest    string          `json:"digest"`
	Size      int64           `json:"size"`
	Platform  *entryPlatform  `json:"platform"`
	// Annotations are parsed where they are needed.
	Annotations json.RawMessage `json:"annotations"`
}

// entryPlatform is a platform without what may be a list, of millions of nothing, and
// which no choice rests on: the features of systems and processors.
type entryPlatform struct {
	Architecture string `json:"architecture"`
	OS           string `json:"os"`
	OSVersion    string `json:"os.version"`
	Variant      string `json:"variant"`
}

// UnmarshalJSON gives up where there are too many.
func (l *indexEntries) UnmarshalJSON(b []byte) error {
	*l = nil
	dec := json.NewDecoder(bytes.NewReader(b))
	switch begin, err := dec.Token(); {
	case err != nil || begin == nil: // null
		return err
	case begin != json.Delim('['):
		return errors.New("its manifests are no list")
	}
	for dec.More() {
		if len(*l) == maxEntries {
			return errTooManyEntries
		}
		var e indexEntry
		if err := dec.Decode(&e); err != nil {
			return err
		}
		*l = append(*l, e)
	}
	return nil
}

// platformWord is what the parts of a platform are made of (containerd/platforms,
// specifierRE); they are shown to users.
var platformWord = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// spec is the entry's platform. Artifacts have none; attestations of BuildKit
// have one that is unknown.
func (e indexEntry) spec() (ocispec.Platform, bool) {
	// Where the name of the system is missing, Normalize puts this machine's in.
	if e.Platform == nil || !platformWord.MatchString(e.Platform.OS) || !platformWord.MatchString(e.Platform.Architecture) ||
		(e.Platform.Variant != "" && !platformWord.MatchString(e.Platform.Variant)) {
		return ocispec.Platform{}, false
	}
	spec := platforms.Normalize(ocispec.Platform{OS: e.Platform.OS, Architecture: e.Platform.Architecture, Variant: e.Platform.Variant})
	if platformWord.MatchString(e.Platform.OSVersion) {
		spec.OSVersion = e.Platform.OSVersion
	}
	return spec, spec.OS != "unknown"
}

// platformName is the entry's platform as its directory is called: as the index spells
// it, joined by "-". It is "" for what is no image of a platform.
func (e indexEntry) platformName() string {
	if _, ok := e.spec(); !ok {
		return ""
	}
	parts := []string{e.Platform.OS, e.Platform.Architecture}
	for _, part := range []string{e.Platform.Variant, e.Platform.OSVersion} {
		if platformWord.MatchString(part) {
			parts = append(parts, part)
		}
	}
	if name := strings.Join(parts, "-"); isSafeName(name) {
		return name
	}
	return ""
}

// innerName is what an index in an index is called in platforms/ that is for none: what
// it has images for, is in it. It is "" for anything else.
func (e indexEntry) innerName() string {
	if !isIndex(e.MediaType) || e.Platform != nil && *e.Platform != (entryPlatform{}) || e.attested() != "" {
		return ""
	}
	d, err := registry.ParseDigest(e.Digest)
	if err != nil {
		return ""
	}
	return "index-" + d.Hex[:shortDigest]
}

// How BuildKit marks the attestation of an image, in the index (buildkit,
// attestation-storage.md).
const (
	referenceTypeKey   = "vnd.docker.reference.type"
	referenceDigestKey = "vnd.docker.reference.digest"
	attestationType    = "attestation-manifest"
)

// attested is the digest of the image that an attestation is about; "" where the
// entry is none.
func (e indexEntry) attested() string {
	var annotations map[string]string
	if len(e.Annotations) == 0 || json.Unmarshal(e.Annotations, &annotations) != nil || annotations[referenceTypeKey] != attestationType {
		return ""
	}
	return annotations[referenceDigestKey]
}

func (e indexEntry) descriptor() (v1.Descriptor, error) {
	d, err := registry.ParseDigest(e.Digest)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("index: %.200s", err.Error())
	}
	found := v1.Descriptor{MediaType: e.MediaType, Digest: d, Size: e.Size}
	if p := e.Platform; p != nil {
		found.Platform = &v1.Platform{Architecture: p.Architecture, OS: p.OS, OSVersion: p.OSVersion, Variant: p.Variant}
	}
	return found, nil
}
