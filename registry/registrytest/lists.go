package registrytest

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// serveCatalog serves a page of the names of all repositories.
func (s *Server) serveCatalog(w http.ResponseWriter, r *http.Request) {
	var names []string
	switch s.opts.NoCatalog {
	case 0:
		s.mu.Lock()
		names = slices.Collect(maps.Keys(s.repositories))
		s.mu.Unlock()
	case http.StatusOK:
	default:
		refuse(w, s.opts.NoCatalog, "UNSUPPORTED", "there is no catalog")
		return
	}
	names = s.page(w, r, names)
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"repositories": names}) // the client left
}

// serveReferrers serves a page of the manifests whose subject is the digest, by their
// digests, and with the artifact types that the spec has for them.
func (s *Server) serveReferrers(w http.ResponseWriter, r *http.Request, req *Request) {
	if s.opts.NoReferrers {
		http.NotFound(w, r)
		return
	}
	s.mu.Lock()
	repo, ok := s.repositories[req.Repository]
	found := map[string]v1.Descriptor{}
	if ok {
		for d, m := range repo.manifests {
			if one, ok := m.refersTo(req.Reference); ok {
				found[d] = one
			}
		}
	}
	s.mu.Unlock()
	if !ok {
		refuse(w, http.StatusNotFound, "NAME_UNKNOWN", "repository name not known to registry")
		return
	}
	index := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: []v1.Descriptor{}}
	for _, d := range s.page(w, r, slices.Collect(maps.Keys(found))) {
		index.Manifests = append(index.Manifests, found[d])
	}
	w.Header().Set("Content-Type", string(types.OCIImageIndex))
	_ = json.NewEncoder(w).Encode(index) // the client left
}

// refersTo returns the descriptor of a manifest whose subject is the digest.
func (m manifest) refersTo(digest string) (v1.Descriptor, bool) {
	var document struct {
		ArtifactType string `json:"artifactType"`
		Config       struct {
			MediaType string `json:"mediaType"`
		} `json:"config"`
		Subject struct {
			Digest string `json:"digest"`
		} `json:"subject"`
	}
	if json.Unmarshal(m.bytes, &document) != nil || document.Subject.Digest != digest {
		return v1.Descriptor{}, false
	}
	if document.ArtifactType == "" {
		document.ArtifactType = document.Config.MediaType
	}
	return v1.Descriptor{MediaType: m.mediaType, Size: int64(len(m.bytes)), Digest: m.digest, ArtifactType: document.ArtifactType}, true
}

// PutReferrer adds a manifest without layers whose subject is the digest, and returns
// its digest. What it is follows from the artifact type and the text. A registry
// without the referrers API lists it nowhere: see [Server.PutReferrersTag].
func (s *Server) PutReferrer(repo string, subject v1.Hash, artifactType, text string) v1.Hash {
	empty := s.PutBlob(repo, []byte("{}"))
	body, err := json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "artifactType": artifactType,
		"config":      map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": empty.String()},
		"layers":      []any{},
		"subject":     map[string]any{"mediaType": types.OCIManifestSchema1, "size": 1, "digest": subject.String()},
		"annotations": map[string]string{"text": text},
	})
	if err != nil {
		panic(err) // there is nothing in it that JSON does not have
	}
	return s.PutManifest(repo, "", types.OCIManifestSchema1, body)
}

// PutReferrersTag tags an index of what refers to a digest, as clients do where there
// is no referrers API.
func (s *Server) PutReferrersTag(repo string, subject v1.Hash, referrers ...v1.Descriptor) v1.Hash {
	body, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: referrers})
	if err != nil {
		panic(err) // the same
	}
	return s.PutManifest(repo, subject.Algorithm+"-"+subject.Hex, types.OCIImageIndex, body)
}
