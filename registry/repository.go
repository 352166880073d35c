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
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

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

// A Repository is one repository of a registry. It is safe for concurrent use.
type Repository struct {
	client  *Client         // set once by Client.Repository, as what follows
	host    *host           // shared by the repositories of a host
	name    string          // canonical, with the host
	parsed  name.Repository // the same, as go-containerregistry has it
	contact contact[*session]
	source  atomic.Pointer[Source] // of the credentials used last; nil before
}

// Name is the repository with its host, as references have it.
func (r *Repository) Name() string { return r.name }

// Host is the registry.
func (r *Repository) Host() string { return r.host.name }

// CredentialSource is where the credentials came from that the registry was asked
// with last; "" where it was asked without.
func (r *Repository) CredentialSource() Source {
	if source := r.source.Load(); source != nil {
		return *source
	}
	return ""
}

// path is the repository's name as its registry has it.
func (r *Repository) path() string { return r.parsed.RepositoryStr() }

// at is a reference of the repository for messages.
func (r *Repository) at(ref string) string {
	if strings.HasPrefix(ref, "sha256:") {
		return r.name + "@" + ref
	}
	return r.name + ":" + ref
}

// A question is one request of a repository. Its target is a path, or an address
// that a page of the registry named.
type question struct {
	method, target string
	header         http.Header
	blob           bool // the answer may be long
}

// do sends one request; with a token that has expired, it does so once more with
// a new one.
func (r *Repository) do(ctx context.Context, op, ref string, q question) (*http.Response, error) {
	begun := time.Now()
	for {
		s, err := r.session(ctx)
		if err != nil {
			return nil, wrap(op, ref, err)
		}
		resp, err := s.send(ctx, q)
		if err != nil {
			return nil, wrap(op, ref, sendError(ctx, err))
		}
		if resp.StatusCode != http.StatusUnauthorized || !isOwn(resp) {
			return resp, nil
		}
		r.contact.forget(s)
		if !s.expires || !s.since.Before(begun) {
			// The registry means it. What was learned of it may be out of date.
			r.host.contact.forget(s.challenge)
			return resp, nil
		}
		closeBody(resp)
	}
}

func (s *session) send(ctx context.Context, q question) (*http.Response, error) {
	target := q.target
	if strings.HasPrefix(target, "/") {
		target = s.base + target
	}
	if q.blob {
		ctx = context.WithValue(ctx, forBlob{}, true)
	}
	req, err := http.NewRequestWithContext(ctx, q.method, target, nil)
	if err != nil {
		return nil, err
	}
	for k, v := range q.header {
		req.Header[k] = v
	}
	return s.client.Do(req)
}

// manifest asks for a manifest, by GET or HEAD. What is neither tag nor digest
// is not there, and asked for by no request.
func (r *Repository) manifest(ctx context.Context, op, method, ref string) (*http.Response, error) {
	if _, err := ParseDigest(ref); err != nil && !ValidTag(ref) {
		return nil, wrap(op, r.at(ref), fmt.Errorf("neither a tag nor a digest: %w", iofs.ErrNotExist))
	}
	return r.do(ctx, op, r.at(ref), question{
		method: method, target: "/v2/" + r.path() + "/manifests/" + ref, header: http.Header{"Accept": {accept}},
	})
}

// Resolve asks what a tag or digest stands for, without fetching it: one HEAD,
// and a GET where the answer lacks the digest.
func (r *Repository) Resolve(ctx context.Context, ref string) (Descriptor, error) {
	const op = "resolve"
	resp, err := r.manifest(ctx, op, http.MethodHead, ref)
	if err != nil {
		return Descriptor{}, err
	}
	defer closeBody(resp)
	switch resp.StatusCode {
	case http.StatusOK:
		d, err := ParseDigest(resp.Header.Get("Docker-Content-Digest"))
		if asked, e := ParseDigest(ref); e == nil && err == nil && d != asked {
			return Descriptor{}, wrap(op, r.at(ref), fmt.Errorf("%w: it is %s", ErrMismatch, d))
		}
		if err == nil && resp.ContentLength > 0 {
			return Descriptor{MediaType: mediaType(resp.Header, nil), Size: resp.ContentLength, Digest: d}, nil
		}
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
	default:
		return Descriptor{}, answerError(op, r.at(ref), resp)
	}
	m, err := r.Manifest(ctx, ref)
	if err != nil {
		return Descriptor{}, err
	}
	return m.Descriptor, nil
}

// Manifest fetches the manifest or index of a tag or digest. Its bytes are
// checked against the digest asked for; by tag the digest is theirs.
// [ErrMismatch] and [ErrTooLarge] are among its errors.
func (r *Repository) Manifest(ctx context.Context, ref string) (*RawManifest, error) {
	const op = "get manifest"
	resp, err := r.manifest(ctx, op, http.MethodGet, ref)
	if err != nil {
		return nil, err
	}
	defer closeBody(resp)
	if resp.StatusCode != http.StatusOK {
		return nil, answerError(op, r.at(ref), resp)
	}
	b, err := readLimited(resp, maxManifest)
	if err != nil {
		return nil, wrap(op, r.at(ref), err)
	}
	if resp.ContentLength >= 0 && int64(len(b)) != resp.ContentLength {
		return nil, wrap(op, r.at(ref), io.ErrUnexpectedEOF)
	}
	m := &RawManifest{Bytes: b, Descriptor: Descriptor{MediaType: mediaType(resp.Header, b), Size: int64(len(b))}}
	m.Descriptor.Digest, err = digestOf(m.Descriptor.MediaType, b)
	if err != nil {
		return nil, wrap(op, r.at(ref), fmt.Errorf("%w: %w", ErrProtocol, err))
	}
	if wanted, err := ParseDigest(ref); err == nil && wanted != m.Descriptor.Digest {
		return nil, wrap(op, r.at(ref), fmt.Errorf("%w: it is %s", ErrMismatch, m.Descriptor.Digest))
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

// readLimited reads a body to its end, and is [ErrTooLarge] where that is beyond
// limit.
func readLimited(resp *http.Response, limit int64) ([]byte, error) {
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes", ErrTooLarge, resp.ContentLength)
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	}
	return b, nil
}

// closeBody closes an answer so that its connection can be used again, where
// what is left of it is short.
func closeBody(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	_ = resp.Body.Close()
}
