package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// maxReferrers, maxReferrerPages and maxReferrerBytes bound what refers to one
	// manifest: what is signed with every build for years has some thousand.
	maxReferrers     = 10_000
	maxReferrerPages = 1000
	maxReferrerBytes = 32 << 20
	// withoutReferrers is how long a host is not asked for its referrers API that does
	// not have one: each digest would cost two requests.
	withoutReferrers = 10 * time.Minute
)

// errNoReferrers is an endpoint that has no referrers API.
var errNoReferrers = errors.New("it has no referrers API")

// ReferrersTag is the tag under which what refers to a digest is listed where a
// registry has no referrers API (distribution spec, "Referrers Tag Schema").
func ReferrersTag(d Digest) string { return d.Algorithm + "-" + d.Hex }

// Referrers returns what refers to a manifest: signatures, SBOMs and the like, each
// with its digest, media type, size and artifact type. It asks the referrers API, and
// for [ReferrersTag] where there is none. That nothing refers to it is no error,
// whether the manifest exists or not; what has a digest that cannot be read is left
// out. The same digest may come twice. [ErrTooLarge] is among its errors.
func (r *Repository) Referrers(ctx context.Context, d Digest) (found []Descriptor, err error) {
	const op = "list referrers of"
	err = r.ask(ctx, resolve, op, r.at(d.String()), func(l *lane) error {
		found, err = l.referrers(ctx, op, r, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	return found, nil
}

func (l *lane) referrers(ctx context.Context, op string, r *Repository, d Digest) ([]Descriptor, error) {
	if !l.without.now() {
		found, err := l.listedReferrers(ctx, op, r.at(d.String()), d)
		if !errors.Is(err, errNoReferrers) {
			return found, err
		}
	}
	tag := ReferrersTag(d)
	m, err := l.get(ctx, r.at(tag), tag)
	if l.origin && errors.Is(err, iofs.ErrNotExist) {
		return nil, nil // of a mirror that says nothing
	}
	if err != nil {
		return nil, err
	}
	found, err := referrersOf(m.Bytes)
	switch {
	case errors.Is(err, ErrProtocol):
		return nil, nil // anybody may give an image this tag; the spec takes it for no list
	case err != nil:
		return nil, wrap(op, r.at(d.String()), err)
	}
	return found, nil
}

// listedReferrers asks the API. [errNoReferrers] is an endpoint without.
func (l *lane) listedReferrers(ctx context.Context, op, at string, d Digest) ([]Descriptor, error) {
	var found []Descriptor
	pages, length := 0, 0
	list := pager[Descriptor]{
		op: op, ref: at, first: "/" + l.path + "/referrers/" + d.String(),
		fetch: func(ctx context.Context, target string) ([]Descriptor, string, error) {
			pages++
			some, n, next, err := l.referrersPage(ctx, op, at, target)
			length += n
			switch {
			case errors.Is(err, errNoReferrers) && pages > 1:
				err = fmt.Errorf("%w: page %d: %s", ErrProtocol, pages, err.Error())
			case err == nil && (len(found)+len(some) > maxReferrers || length > maxReferrerBytes || pages > maxReferrerPages):
				err = fmt.Errorf("%w: page %d of its referrers", ErrTooLarge, pages)
			}
			if err != nil {
				return nil, "", wrap(op, at, err)
			}
			return some, next, nil
		},
	}
	for one, err := range list.entries(ctx, maxPages+1) {
		if err != nil {
			return nil, err
		}
		found = append(found, one)
	}
	return found, nil
}

// referrersPage fetches one page, says how long it was, and where the next one is.
func (l *lane) referrersPage(ctx context.Context, op, at, target string) (some []Descriptor, length int, next string, err error) {
	resp, err := l.do(ctx, op, at, question{
		method: http.MethodGet, target: target, stays: true,
		header: http.Header{"Accept": {string(types.OCIImageIndex)}},
	})
	if err != nil {
		return nil, 0, "", err
	}
	defer closeBody(resp)
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusNotImplemented,
		http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		// The path is unknown to those who have no API, and some have it lead to pages
		// for people. But that the repository is unknown says nothing of the host.
		if !unknownName(resp) {
			l.without.begin(withoutReferrers)
		}
		return nil, 0, "", errNoReferrers
	default:
		return nil, 0, "", l.refused(op, at, resp)
	}
	if filters := resp.Header.Get("OCI-Filters-Applied"); filters != "" {
		// Nobody asked for that: what was left out would be taken for absent.
		return nil, 0, "", fmt.Errorf("%w: a list that was filtered by %.80q", ErrProtocol, filters)
	}
	b, err := readLimited(resp, maxPage)
	if err != nil {
		return nil, 0, "", err
	}
	some, err = referrersOf(b)
	if errors.Is(err, ErrProtocol) && mediaType(resp.Header, nil) != types.OCIImageIndex {
		l.without.begin(withoutReferrers) // such as a page that wants somebody to sign in
		return nil, 0, "", errNoReferrers
	}
	if err != nil {
		return nil, 0, "", err
	}
	next, err = nextPage(resp.Request.URL, resp.Header.Values("Link"))
	return some, len(b), next, err
}

// unknownName says whether the registry does not know the repository. It reads the
// body, and leaves closing it to the caller.
func unknownName(resp *http.Response) bool {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came is enough
	var document struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &document) != nil {
		return false
	}
	for _, d := range document.Errors {
		if strings.EqualFold(d.Code, "NAME_UNKNOWN") {
			return true
		}
	}
	return false
}

// referrersOf parses an index of referrers. [ErrProtocol] is a document that is none.
func referrersOf(b []byte) ([]Descriptor, error) {
	var document struct {
		Schema    int             `json:"schemaVersion"`
		MediaType types.MediaType `json:"mediaType"`
		Manifests referrerEntries `json:"manifests"`
		Layers    json.RawMessage `json:"layers"`
	}
	document.Manifests.absent = true
	switch err := json.Unmarshal(b, &document); {
	case errors.Is(err, ErrTooLarge):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("%w: not a list of referrers: %w", ErrProtocol, err)
	case document.MediaType != "" && document.MediaType != types.OCIImageIndex,
		document.MediaType == "" && (document.Manifests.absent || document.Layers != nil):
		return nil, fmt.Errorf("%w: not a list of referrers", ErrProtocol)
	}
	return document.Manifests.found, nil
}

// referrerEntries are the entries of an index of referrers. Of each what it takes to
// find it is kept: an index as long as a page may be has annotations of any length.
type referrerEntries struct {
	found  []Descriptor
	absent bool // the index has no such list
}

// UnmarshalJSON gives up where there are too many.
func (l *referrerEntries) UnmarshalJSON(b []byte) error {
	*l = referrerEntries{}
	dec := json.NewDecoder(bytes.NewReader(b))
	switch begin, err := dec.Token(); {
	case err != nil || begin == nil: // null
		return err
	case begin != json.Delim('['):
		return errors.New("its manifests are no list")
	}
	for n := 0; dec.More(); n++ {
		if n == maxReferrers {
			return fmt.Errorf("%w: more than %d referrers", ErrTooLarge, maxReferrers)
		}
		var e struct {
			MediaType    types.MediaType `json:"mediaType"`
			Size         int64           `json:"size"`
			Digest       string          `json:"digest"`
			ArtifactType string          `json:"artifactType"`
		}
		if err := dec.Decode(&e); err != nil {
			return err
		}
		if d, err := ParseDigest(e.Digest); err == nil {
			l.found = append(l.found, Descriptor{MediaType: e.MediaType, Size: e.Size, Digest: d, ArtifactType: e.ArtifactType})
		}
	}
	return nil
}

// lack is for how long something is known to be missing. The zero value is none. It
// is safe for concurrent use.
type lack struct{ until atomic.Pointer[time.Time] }

func (l *lack) begin(d time.Duration) {
	end := time.Now().Add(d)
	l.until.Store(&end)
}

func (l *lack) now() bool {
	end := l.until.Load()
	return end != nil && time.Now().Before(*end)
}
