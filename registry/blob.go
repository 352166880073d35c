package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// errRange is an answer to a range that is not that range.
var errRange = fmt.Errorf("%w: not the range that was asked for", ErrProtocol)

// BlobRange fetches n bytes of a blob at off. The body holds the blob's bytes
// from start on: start is off and the bytes are at most n where the registry
// knows ranges; where it does not, start is 0 and the body is the blob to its
// end. Fewer bytes than asked for are no error of the body if the registry said
// so. The bytes are not verified. The caller closes the body.
func (r *Repository) BlobRange(ctx context.Context, d Digest, off, n int64) (body io.ReadCloser, start int64, err error) {
	const op = "get blob"
	ref := r.at(d.String())
	header := http.Header{"Accept-Encoding": {"identity"}}
	if !r.rangeless.Load() {
		header.Set("Range", rangeHeader(off, n))
	}
	ctx = context.WithValue(ctx, forBlob{}, true)
	resp, err := r.do(ctx, op, ref, http.MethodGet, "/v2/"+r.path()+"/blobs/"+d.String(), header)
	if err != nil {
		return nil, 0, err
	}
	body, start, err = rangeOf(resp, op, ref, off, n)
	if err == nil && resp.StatusCode == http.StatusOK && off > 0 {
		// It will do so again: one stream is better than many that are cut.
		r.rangeless.Store(true)
	}
	return body, start, err
}

// URLRange does the same for an address out of a manifest, as foreign layers
// have. Only https is spoken, and no credentials are sent.
func (c *Client) URLRange(ctx context.Context, address string, off, n int64) (body io.ReadCloser, start int64, err error) {
	const op = "get"
	u, err := url.Parse(address)
	if err != nil {
		return nil, 0, wrap(op, "foreign layer", fmt.Errorf("%w: %w", ErrProtocol, err))
	}
	if u.Scheme != "https" || u.User != nil || isInternal(u.Hostname()) {
		return nil, 0, wrap(op, u.Redacted(), fmt.Errorf("%w: not a public https address", ErrRedirect))
	}
	ctx = context.WithValue(ctx, forBlob{}, true)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, 0, wrap(op, u.Redacted(), err)
	}
	req.Header.Set("Accept-Encoding", "identity")
	req.Header.Set("Range", rangeHeader(off, n))
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, 0, wrap(op, u.Redacted(), err)
	}
	return rangeOf(resp, op, u.Redacted(), off, n)
}

func rangeHeader(off, n int64) string { return fmt.Sprintf("bytes=%d-%d", off, off+n-1) }

// rangeOf makes the result of BlobRange out of an answer; it closes those that
// are none.
func rangeOf(resp *http.Response, op, ref string, off, n int64) (io.ReadCloser, int64, error) {
	switch resp.StatusCode {
	case http.StatusPartialContent:
		start, end, err := contentRange(resp.Header.Get("Content-Range"))
		if err != nil || start != off {
			closeBody(resp)
			return nil, 0, wrap(op, ref, errors.Join(errRange, err))
		}
		return &boundedBody{resp.Body, min(end+1-start, n)}, off, nil
	case http.StatusOK:
		length := resp.ContentLength
		if length < 0 {
			return resp.Body, 0, nil
		}
		return &boundedBody{resp.Body, length}, 0, nil
	default:
		err := answerError(op, ref, resp)
		closeBody(resp)
		return nil, 0, err
	}
}

// contentRange parses "bytes first-last/size" (RFC 9110, 14.4).
func contentRange(s string) (first, last int64, err error) {
	rest, ok := strings.CutPrefix(s, "bytes ")
	span, _, sized := strings.Cut(rest, "/")
	a, b, dashed := strings.Cut(span, "-")
	if !ok || !sized || !dashed {
		return 0, 0, fmt.Errorf("Content-Range %q", s)
	}
	first, errFirst := strconv.ParseInt(a, 10, 64)
	last, errLast := strconv.ParseInt(b, 10, 64)
	if errFirst != nil || errLast != nil || first < 0 || last < first {
		return 0, 0, fmt.Errorf("Content-Range %q", s)
	}
	return first, last, nil
}

// boundedBody ends after the bytes that were promised, and is an unexpected end
// where they do not all come.
type boundedBody struct {
	io.ReadCloser
	left int64
}

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, io.EOF
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if err == io.EOF && b.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
