package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

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
	client    *Client
	host      *host
	name      string // canonical, with the host
	parsed    name.Repository
	contact   contact[*session]
	rangeless atomic.Bool // its registry sent a whole blob when asked for a range
}

// Name is the repository with its host, as references have it.
func (r *Repository) Name() string { return r.name }

// Host is the registry.
func (r *Repository) Host() string { return r.host.name }

// path is the repository's name as its registry has it.
func (r *Repository) path() string { return r.parsed.RepositoryStr() }

// at is a reference of the repository for messages.
func (r *Repository) at(ref string) string {
	if strings.HasPrefix(ref, "sha256:") {
		return r.name + "@" + ref
	}
	return r.name + ":" + ref
}

// do sends one request. target is a path, or an address of the same registry.
func (r *Repository) do(ctx context.Context, op, ref, method, target string, header http.Header) (*http.Response, error) {
	s, err := r.session(ctx)
	if err != nil {
		return nil, wrap(op, ref, err)
	}
	if strings.HasPrefix(target, "/") {
		target = s.base + target
	}
	req, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, wrap(op, ref, err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	resp, err := s.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, wrap(op, ref, err)
	}
	if resp.StatusCode == http.StatusUnauthorized {
		// What was learned of the host may be out of date.
		r.contact.forget()
		r.host.contact.forget()
	}
	return resp, nil
}

// Resolve asks what a tag or digest stands for, without fetching it: one HEAD,
// and a GET where the answer lacks the digest.
func (r *Repository) Resolve(ctx context.Context, ref string) (Descriptor, error) {
	const op = "resolve"
	resp, err := r.do(ctx, op, r.at(ref), http.MethodHead, "/v2/"+r.path()+"/manifests/"+ref, http.Header{"Accept": {accept}})
	if err != nil {
		return Descriptor{}, err
	}
	defer closeBody(resp)
	switch {
	case resp.StatusCode == http.StatusOK:
		d, err := ParseDigest(resp.Header.Get("Docker-Content-Digest"))
		if err == nil && resp.ContentLength > 0 {
			return Descriptor{MediaType: mediaType(resp.Header, nil), Size: resp.ContentLength, Digest: d}, nil
		}
	case resp.StatusCode == http.StatusMethodNotAllowed:
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
	resp, err := r.do(ctx, op, r.at(ref), http.MethodGet, "/v2/"+r.path()+"/manifests/"+ref, http.Header{"Accept": {accept}})
	if err != nil {
		return nil, err
	}
	defer closeBody(resp)
	if resp.StatusCode != http.StatusOK {
		return nil, answerError(op, r.at(ref), resp)
	}
	b, err := readLimited(resp.Body, maxManifest)
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

// mediaType is what the header says, or the document where the header says
// nothing of use.
func mediaType(header http.Header, b []byte) types.MediaType {
	t, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err == nil && t != "application/json" && t != "application/octet-stream" && t != "text/plain" {
		return types.MediaType(t)
	}
	var document struct {
		MediaType types.MediaType `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
	}
	switch err := json.Unmarshal(b, &document); {
	case err != nil:
		return types.MediaType(t)
	case document.MediaType != "":
		return document.MediaType
	case document.Manifests != nil:
		return types.OCIImageIndex
	case document.Layers != nil:
		return types.OCIManifestSchema1
	}
	return types.MediaType(t)
}

// readLimited reads all of r, and [ErrTooLarge] where that is more than limit.
func readLimited(r io.Reader, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fmt.Errorf("%w: more than %s bytes", ErrTooLarge, strconv.FormatInt(limit, 10))
	}
	return b, nil
}

// closeBody closes an answer so that its connection can be used again, where
// what is left of it is short.
func closeBody(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	_ = resp.Body.Close()
}

var errNoPayload = errors.New("schema 1 signature without a payload")
