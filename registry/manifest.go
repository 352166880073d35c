package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	iofs "io/fs"
	"mime"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// A RawManifest is a manifest or index, byte for byte. Its descriptor says what
// the bytes are: their digest was computed.
type RawManifest struct {
	Descriptor Descriptor
	Bytes      []byte
}

// maxManifest is the longest manifest that is taken. The spec asks registries to
// take 4 MiB.
const maxManifest = 8 << 20

// accept are the manifests that are understood, best first. A registry that has
// only schema 1 sends that.
var accept = strings.Join([]string{
	string(types.OCIImageIndex), string(types.DockerManifestList),
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
	string(types.DockerManifestSchema1Signed), string(types.DockerManifestSchema1),
	"*/*;q=0.1",
}, ", ")

// askManifest puts a question about a tag or digest to those who may answer it. What
// is neither is not there, and asked for by no request.
func (r *Repository) askManifest(ctx context.Context, op, ref string, question func(*lane) error) error {
	need := resolve
	if _, err := ParseDigest(ref); err == nil {
		need = pull
	} else if !ValidTag(ref) {
		return wrap(op, r.at(ref), fmt.Errorf("neither a tag nor a digest: %w", iofs.ErrNotExist))
	}
	return r.ask(ctx, need, op, r.at(ref), question)
}

// manifest asks for a manifest, by GET or HEAD.
func (l *lane) manifest(ctx context.Context, op, method, at, ref string) (*http.Response, error) {
	return l.do(ctx, op, at, question{
		method: method, target: "/" + l.path + "/manifests/" + ref, header: http.Header{"Accept": {accept}},
	})
}

// Resolve asks what a tag or digest stands for, without fetching it: one HEAD,
// and a GET where the answer lacks the digest.
func (r *Repository) Resolve(ctx context.Context, ref string) (d Descriptor, err error) {
	err = r.askManifest(ctx, "resolve", ref, func(l *lane) error {
		d, err = l.resolve(ctx, r.at(ref), ref)
		return err
	})
	return d, err
}

func (l *lane) resolve(ctx context.Context, at, ref string) (Descriptor, error) {
	const op = "resolve"
	resp, err := l.manifest(ctx, op, http.MethodHead, at, ref)
	if err != nil {
		return Descriptor{}, err
	}
	defer closeBody(resp)
	switch resp.StatusCode {
	case http.StatusOK:
		d, err := ParseDigest(resp.Header.Get("Docker-Content-Digest"))
		if asked, e := ParseDigest(ref); e == nil && err == nil && d != asked {
			return Descriptor{}, wrap(op, at, fmt.Errorf("%w: it is %s", ErrMismatch, d))
		}
		if err == nil && resp.ContentLength > 0 && resp.Header.Get("Content-Encoding") == "" {
			return Descriptor{MediaType: mediaType(resp.Header, nil), Size: resp.ContentLength, Digest: d}, nil
		}
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
	default:
		return Descriptor{}, l.refused(op, at, resp)
	}
	m, err := l.get(ctx, at, ref)
	if err != nil {
		return Descriptor{}, err
	}
	return m.Descriptor, nil
}

// Manifest fetches the manifest or index of a tag or digest. Its bytes are
// checked against the digest asked for; by tag against the one that the registry
// names (Docker-Content-Digest), and where it names none the digest is theirs.
// [ErrMismatch] and [ErrTooLarge] are among its errors.
func (r *Repository) Manifest(ctx context.Context, ref string) (m *RawManifest, err error) {
	err = r.askManifest(ctx, "get manifest", ref, func(l *lane) error {
		m, err = l.get(ctx, r.at(ref), ref)
		return err
	})
	return m, err
}

// get fetches a manifest, which messages call at.
func (l *lane) get(ctx context.Context, at, ref string) (*RawManifest, error) {
	const op = "get manifest"
	resp, err := l.manifest(ctx, op, http.MethodGet, at, ref)
	if err != nil {
		return nil, err
	}
	defer closeBody(resp)
	if resp.StatusCode != http.StatusOK {
		return nil, l.refused(op, at, resp)
	}
	b, err := readLimited(resp, maxManifest)
	if err != nil {
		return nil, wrap(op, at, err)
	}
	if resp.ContentLength >= 0 && int64(len(b)) != resp.ContentLength {
		return nil, wrap(op, at, io.ErrUnexpectedEOF)
	}
	m := &RawManifest{Bytes: b, Descriptor: Descriptor{MediaType: mediaType(resp.Header, b), Size: int64(len(b))}}
	m.Descriptor.Digest, err = digestOf(m.Descriptor.MediaType, b)
	if err != nil {
		return nil, wrap(op, at, fmt.Errorf("%w: %w", ErrProtocol, err))
	}
	// A tag is checked against what the registry calls the answer, as other clients
	// do who ask for that first: otherwise what was damaged on its way would be
	// another manifest, and the tag's for its TTL.
	wanted, err := ParseDigest(ref)
	if err != nil {
		wanted, err = ParseDigest(resp.Header.Get("Docker-Content-Digest"))
	}
	if err == nil && wanted != m.Descriptor.Digest {
		return nil, wrap(op, at, fmt.Errorf("%w: it is %s, and not %s", ErrMismatch, m.Descriptor.Digest, wanted))
	}
	return m, nil
}

// digestOf computes a manifest's digest. That of a signed schema 1 manifest is
// of its payload, without the signatures.
func digestOf(t types.MediaType, b []byte) (Digest, error) {
	if t == types.DockerManifestSchema1Signed {
		payload, err := unsigned(b)
		if err != nil {
			return Digest{}, err
		}
		b = payload
	}
	d, _, err := v1.SHA256(bytes.NewReader(b))
	return d, err
}

// mediaType is what the document says of itself: its digest covers that, and so
// the same digest is the same thing wherever it comes from (CVE-2021-41190 is
// what happens otherwise). A document that says nothing, as OCI allows and schema
// 1 does, is what the header says, or what it looks like.
func mediaType(header http.Header, b []byte) types.MediaType {
	var document struct {
		MediaType types.MediaType `json:"mediaType"`
		Schema    int             `json:"schemaVersion"`
		Manifests json.RawMessage `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
		Signed    json.RawMessage `json:"signatures"`
	}
	parsed := json.Unmarshal(b, &document) == nil
	if parsed && document.MediaType != "" {
		return document.MediaType
	}
	t, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err == nil && t != "application/json" && t != "application/octet-stream" && t != "text/plain" {
		return types.MediaType(t)
	}
	switch {
	case !parsed:
	case document.Schema == 1 && document.Signed != nil:
		return types.DockerManifestSchema1Signed
	case document.Schema == 1:
		return types.DockerManifestSchema1
	case document.Manifests != nil:
		return types.OCIImageIndex
	case document.Layers != nil:
		return types.OCIManifestSchema1
	}
	return types.MediaType(t)
}
