package registry

import (
	"context"
	"fmt"
	"io"
	iofs "io/fs"
	"math"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// errRange is an answer to a range that is not that range.
var errRange = fmt.Errorf("%w: not the range that was asked for", ErrProtocol)

// BlobRange fetches n bytes of a blob at off; n is not 0. The body holds the
// blob's bytes from start on: start is off and the bytes are at most n where the
// registry sends ranges; where it does not, start is 0, the body is the blob
// to its end, and has a method Whole that says so, as one of a range may have a method
// Ranged. Fewer bytes than asked for are no error of the body if the
// registry said so. The bytes are not verified. The caller closes the body.
//
// A registry that ignored one range is asked for the next all the same: some do
// so once, behind a CDN, and those that always do send what they would anyway.
func (r *Repository) BlobRange(ctx context.Context, d Digest, off, n int64) (body io.ReadCloser, start int64, err error) {
	const op = "get blob"
	ref := r.at(d.String())
	if _, err := ParseDigest(d.String()); err != nil {
		return nil, 0, wrap(op, ref, fmt.Errorf("%w: %w", iofs.ErrNotExist, err))
	}
	header, err := rangeHeader(off, n)
	if err != nil {
		return nil, 0, wrap(op, ref, err)
	}
	err = r.askBlob(ctx, d, op, ref, func(l *lane) error {
		resp, err := l.do(ctx, op, ref, question{
			method: http.MethodGet, target: "/" + r.path() + "/blobs/" + d.String(), header: header, blob: true,
		})
		if err != nil {
			return err
		}
		body, start, err = rangeOf(resp, op, ref, off, n)
		if err != nil && isOwn(resp) {
			err = l.asked(err) // a store of blobs was asked with nothing
		}
		switch b := body.(type) {
		case *boundedBody:
			b.ofAll, b.broke = l.origin, l.broke(ctx)
		case wholeBody:
			if b, ok := b.ReadCloser.(*boundedBody); ok {
				b.broke = l.broke(ctx)
			}
		}
		return err
	})
	if err != nil {
		return nil, 0, err
	}
	return body, start, nil
}

// URLRange does the same for an address out of a manifest, as foreign layers
// have. Only https is spoken, and no credentials are sent. Where
// [Options.AllowHosts] names hosts, it has to be one of them: whoever writes a manifest
// names these addresses.
func (c *Client) URLRange(ctx context.Context, address string, off, n int64) (body io.ReadCloser, start int64, err error) {
	const op = "get"
	u, err := url.Parse(address)
	if err != nil {
		return nil, 0, wrap(op, "foreign layer", fmt.Errorf("%w: its address is none", ErrProtocol))
	}
	// Errors are shown to others: an address may be signed in its query.
	ref := u.Host + u.EscapedPath()
	if err := c.Allowed(u.Host); err != nil {
		return nil, 0, wrap(op, ref, err)
	}
	if u.Scheme != "https" || u.User != nil || isInternal(u.Hostname()) {
		return nil, 0, wrap(op, ref, fmt.Errorf("%w: not a public https address", ErrRedirect))
	}
	header, err := rangeHeader(off, n)
	if err != nil {
		return nil, 0, wrap(op, ref, err)
	}
	ctx = context.WithValue(ctx, forBlob{}, true)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, wrap(op, ref, err)
	}
	req.Header = header
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, wrap(op, ref, sendError(ctx, err))
	}
	return rangeOf(resp, op, ref, off, n)
}

// rangeHeader asks for n bytes at off: for one range, since some registries
// refuse several and others send everything.
func rangeHeader(off, n int64) (http.Header, error) {
	if off < 0 || n <= 0 || off > math.MaxInt64-n {
		return nil, fmt.Errorf("%d bytes at %d: %w", n, off, iofs.ErrInvalid)
	}
	return http.Header{
		"Accept-Encoding": {"identity"},
		"Range":           {fmt.Sprintf("bytes=%d-%d", off, off+n-1)},
	}, nil
}

// rangeOf makes the result of BlobRange out of an answer; it closes those that
// are none.
func rangeOf(resp *http.Response, op, ref string, off, n int64) (io.ReadCloser, int64, error) {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		start, end, err := contentRange(resp.Header.Get("Content-Range"))
		if err == nil && start != off {
			err = fmt.Errorf("it begins at %d", start)
		}
		if err != nil {
			closeBody(resp)
			return nil, 0, wrap(op, ref, fmt.Errorf("%w: %w", errRange, err))
		}
		return &boundedBody{ReadCloser: resp.Body, left: min(end+1-start, n)}, off, nil
	case http.StatusOK:
		switch length := resp.ContentLength; {
		case length < 0:
			return wholeBody{&boundedBody{ReadCloser: resp.Body, left: off + n, least: true}}, 0, nil
		case length < off+n:
			closeBody(resp)
			return nil, 0, &Error{Op: op, Ref: ref, Status: resp.StatusCode, Err: fmt.Errorf("%w: the registry has %d bytes of it", ErrMismatch, length)}
		default:
			return wholeBody{&boundedBody{ReadCloser: resp.Body, left: length}}, 0, nil
		}
	default:
		err := answerError(op, ref, resp)
		closeBody(resp)
		if size, ok := unsatisfied(resp); ok && size <= off {
			err = &Error{Op: op, Ref: ref, Status: resp.StatusCode, Err: fmt.Errorf("%w: the registry has %d bytes of it", ErrMismatch, size)}
		}
		return nil, 0, err
	}
}

// unsatisfied returns the size that a registry has of what it sends no such range
// of, where it says so (RFC 9110, 15.5.17).
func unsatisfied(resp *http.Response) (size int64, ok bool) {
	s, ok := cutFold(resp.Header.Get("Content-Range"), "bytes */")
	if resp.StatusCode != http.StatusRequestedRangeNotSatisfiable || !ok {
		return 0, false
	}
	return number(s)
}

// contentRange parses "bytes first-last/size" (RFC 9110, 14.4).
func contentRange(s string) (first, last int64, err error) {
	rest, isBytes := cutFold(s, "bytes ")
	span, complete, hasSize := strings.Cut(rest, "/")
	a, b, hasLast := strings.Cut(span, "-")
	first, isFirst := number(a)
	last, isLast := number(b)
	size, isSize := number(complete)
	if !isBytes || !hasSize || !hasLast || !isFirst || !isLast || last < first ||
		(complete != "*" && (!isSize || size <= last)) {
		return 0, 0, fmt.Errorf("Content-Range %.80q", s)
	}
	return first, last, nil
}

// cutFold is strings.CutPrefix for words in any case.
func cutFold(s, prefix string) (rest string, ok bool) {
	if len(s) < len(prefix) || !strings.EqualFold(s[:len(prefix)], prefix) {
		return s, false
	}
	return s[len(prefix):], true
}

// number parses digits alone, of a number small enough to count on from.
func number(s string) (int64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return int64(n), err == nil && n < math.MaxInt64
}

// wholeBody is that of a blob to its end, whatever was asked for.
type wholeBody struct{ io.ReadCloser }

// Whole tells it from a range that begins where the blob does.
func (wholeBody) Whole() bool { return true }

// boundedBody ends after the bytes that were promised, and is an unexpected end
// where they do not all come. Where it was not said how many come, they are those that
// were asked for at least; one of the registry itself that has fewer just ends.
type boundedBody struct {
	io.ReadCloser
	left  int64
	least bool
	ofAll bool              // set once by BlobRange, as what follows
	broke func(error) error // is told that it ended early; nil is nobody
}

// Ranged says that the range came from the registry itself: a mirror may have ranges
// of some blobs and not of others.
func (b *boundedBody) Ranged() bool { return b.ofAll }

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 && !b.least {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left && !b.least {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 && (!b.least || b.broke != nil) {
		return n, b.early()
	}
	return n, err
}

// early is the error of a body that ended before it should.
func (b *boundedBody) early() error {
	if b.broke == nil {
		return io.ErrUnexpectedEOF
	}
	return b.broke(io.ErrUnexpectedEOF)
}
