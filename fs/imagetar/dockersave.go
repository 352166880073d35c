package imagetar

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A Pulled is an image as docker's engine has it after it pulled it into its
// containerd image store, and nothing else.
type Pulled struct {
	Image
	Repository string // with its host; for an image without a name too
	// Index is the index in which the image was found, exactly as the registry
	// serves it; nil where the reference is the image itself.
	Index []byte
	// Attestation is the manifest of which [AttestationOf] gives the descriptor; nil
	// where there is none.
	Attestation []byte
}

// DockerSave lays out what docker save --platform writes of an image: version 29 of
// the engine, from its containerd image store, to the byte. Earlier versions with
// that store leave the attestation out and write the same otherwise. What is no
// longer known by digest is left out: signatures of the attestation, which the
// engine asks the referrers API for when it pulls. The errors are those of [New];
// also of an image that the engine rewrites, and of one that is not in the index.
func DockerSave(p Pulled) (*Archive, error) {
	a, err := dockerSave(p)
	if err != nil {
		return nil, fmt.Errorf("lay out docker save: %w", err)
	}
	return a, nil
}

func dockerSave(p Pulled) (*Archive, error) {
	parsed, err := Parse(p.Manifest)
	if err != nil {
		return nil, err
	}
	if parsed.Config.MediaType == "application/octet-stream" {
		// containerd, core/remotes/docker/converter.go: the manifest becomes another.
		return nil, errors.New("the engine does not keep a manifest whose config is application/octet-stream")
	}
	digest, size, err := v1.SHA256(bytes.NewReader(p.Manifest))
	if err != nil {
		return nil, err
	}
	entry := saveEntry{MediaType: p.MediaType, Digest: digest.String(), Size: size}
	if p.Index != nil {
		if entry, err = entryOf(p.Index, digest, size); err != nil {
			return nil, err
		}
	}
	if entry.Annotations, err = p.annotations(entry.Annotations); err != nil {
		return nil, err
	}

	s := &saved{contents: map[string][]byte{}, blobs: map[string]v1.Descriptor{}}
	if err := s.manifest(p.Manifest, parsed); err != nil {
		return nil, err
	}
	entries := []saveEntry{entry}
	if p.Attestation != nil {
		attestation, err := s.attestation(p.Attestation, digest)
		if err != nil {
			return nil, fmt.Errorf("attestation: %w", err)
		}
		entries = append(entries, attestation)
	}
	return s.lay(entries, p.documentOf(parsed))
}

// annotations are those of the image's entry in index.json: what its entry in the
// registry's index has, where it came from, and its name.
func (p *Pulled) annotations(given map[string]string) (map[string]string, error) {
	host, path, ok := strings.Cut(p.Repository, "/")
	if !ok {
		return nil, fmt.Errorf("repository %q has no host", p.Repository)
	}
	annotations := map[string]string{}
	for k, v := range given {
		annotations[k] = v
	}
	delete(annotations, imageNameAnnotation)
	delete(annotations, refNameAnnotation)
	if p.Name != (Name{}) {
		annotations[imageNameAnnotation] = p.Name.String()
		annotations[refNameAnnotation] = p.Name.Tag
	}
	annotations[sourceAnnotation+hostname(host)] = path
	return annotations, nil
}

// documentOf is the image in manifest.json.
func (p *Pulled) documentOf(parsed *Manifest) dockerManifest {
	doc := dockerManifest{Config: blobName(parsed.Config.Digest)}
	for _, layer := range parsed.Layers {
		doc.Layers = append(doc.Layers, blobName(layer.Digest))
	}
	if p.Name != (Name{}) {
		doc.RepoTags = []string{familiar(p.Name.String())}
	}
	return doc
}

// familiar is a name as docker shows it: without what it would add by itself.
func familiar(name string) string {
	if hub, ok := strings.CutPrefix(name, "docker.io/"); ok {
		official, _ := strings.CutPrefix(hub, "library/")
		if !strings.Contains(official, "/") {
			return official
		}
		return hub
	}
	return name
}

// hostname is a host without its port and brackets, as containerd has it in the
// annotation: from net/url.
func hostname(host string) string {
	if address, _, ok := strings.Cut(strings.TrimPrefix(host, "["), "]"); ok && strings.HasPrefix(host, "[") {
		return address
	}
	name, _, _ := strings.Cut(host, ":")
	return name
}

// saved are the members of blobs/sha256, by their names there.
type saved struct {
	contents map[string][]byte        // in memory
	blobs    map[string]v1.Descriptor // by reference
}

// manifest adds a manifest with what it refers to.
func (s *saved) manifest(b []byte, parsed *Manifest) error {
	digest, _, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		return err
	}
	s.contents[blobName(digest)] = b
	for _, d := range append([]v1.Descriptor{parsed.Config}, parsed.Layers...) {
		if isForeign(d.MediaType) {
			continue
		}
		name := blobName(d.Digest)
		if known, ok := s.blobs[name]; ok && known.Size != d.Size {
			return fmt.Errorf("%s has two sizes, %d and %d", d.Digest, known.Size, d.Size)
		}
		s.blobs[name] = d
	}
	return nil
}

// attestation adds the attestation of an image, and returns its entry.
func (s *saved) attestation(b []byte, image v1.Hash) (saveEntry, error) {
	digest, size, err := v1.SHA256(bytes.NewReader(b))
	if err != nil {
		return saveEntry{}, err
	}
	parsed, err := Parse(b)
	if err != nil {
		return saveEntry{}, err
	}
	// What the engine knows of it is what the manifest itself says, which is nothing
	// of its type where it leaves that out.
	var entry saveEntry
	if err := json.Unmarshal(b, &struct {
		MediaType    *types.MediaType `json:"mediaType"`
		ArtifactType *string          `json:"artifactType"`
	}{&entry.MediaType, &entry.ArtifactType}); err != nil {
		return saveEntry{}, fmt.Errorf("manifest: %.200s", err.Error())
	}
	entry.Digest, entry.Size = digest.String(), size
	entry.Annotations = map[string]string{subjectAnnotation: image.String()}
	if !isManifest(entry.MediaType) {
		s.contents[blobName(digest)] = b
		return entry, nil
	}
	return entry, s.manifest(b, parsed)
}

// lay lays the archive out, its members sorted by their names.
func (s *saved) lay(entries []saveEntry, document dockerManifest) (*Archive, error) {
	index, err := json.Marshal(saveIndex{2, types.OCIImageIndex, entries})
	if err != nil {
		return nil, err
	}
	manifest, err := json.Marshal([]dockerManifest{document})
	if err != nil {
		return nil, err
	}
	b := &builder{}
	b.dir("blobs/")
	b.dir(blobDir)
	var names []string
	for name := range s.contents {
		delete(s.blobs, name)
		names = append(names, name)
	}
	for name := range s.blobs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		if content, ok := s.contents[name]; ok {
			b.file(name, readOnlyMode, content)
		} else {
			b.blob(s.blobs[name], readOnlyMode, false)
		}
	}
	b.file("index.json", fileMode, index)
	b.file("manifest.json", fileMode, manifest)
	b.file("oci-layout", readOnlyMode, layoutDocument)
	return b.finish()
}
