package tree

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocidistfs/ocidistfs/registry"
)

func isIndex(t types.MediaType) bool {
	return t == types.OCIImageIndex || t == types.DockerManifestList
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
	Platform  *v1.Platform    `json:"platform"`
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
	spec := platforms.Normalize(ocispec.Platform{
		OS: e.Platform.OS, Architecture: e.Platform.Architecture, Variant: e.Platform.Variant,
		OSVersion: e.Platform.OSVersion, OSFeatures: e.Platform.OSFeatures,
	})
	return spec, spec.OS != "unknown"
}

func (e indexEntry) descriptor() (v1.Descriptor, error) {
	d, err := registry.ParseDigest(e.Digest)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("index: %.200s", err.Error())
	}
	return v1.Descriptor{MediaType: e.MediaType, Digest: d, Size: e.Size, Platform: e.Platform}, nil
}
