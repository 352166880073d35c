package registry

import (
	"bytes"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// MaxPause is how long a host can keep everybody away at most: a wrong date must
// not close it for a day. Docker Hub's windows are of hours; it is asked anew now
// and then.
const MaxPause = 5 * time.Minute

// A pause is for how long a host wants to be left alone, as Retry-After of a 429 or
// 503 says (RFC 9110, 10.2.3; RFC 6585, 4). It is for all requests to the host: each
// one more makes most registries count anew. The zero value is none. It is safe for
// concurrent use.
type pause struct {
	mu    sync.Mutex
	until time.Time // guarded by mu
	said  *refusal  // guarded by mu; the answer that began it, never changed
	begun func(time.Duration)
}

// A refusal is an answer that can be given again.
type refusal struct {
	status int
	header http.Header
	body   []byte
	until  time.Time
}

// left is how long the pause still is, and the answer that began it.
func (p *pause) left(now time.Time) (time.Duration, *refusal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(p.until.Sub(now), 0), p.said
}

// heed begins a pause, or makes it longer, where an answer says so. It reads the
// body of such an answer and puts it back.
func (p *pause) heed(resp *http.Response, now time.Time) {
	if resp.StatusCode != http.StatusTooManyRequests && resp.StatusCode != http.StatusServiceUnavailable {
		return
	}
	wait := retryAfter(resp.Header.Get("Retry-After"), now)
	if wait <= 0 {
		return
	}
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came is enough
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(body), resp.Body), resp.Body}
	p.mu.Lock()
	news := p.until.Before(now)
	if until := now.Add(wait); until.After(p.until) {
		p.until = until
		p.said = &refusal{resp.StatusCode, resp.Header.Clone(), body, until}
	}
	p.mu.Unlock()
	if news {
		p.begun(wait)
	}
}

// answer is the refusal as the answer to a request that is not sent. It has left
// what is left to wait.
func (r *refusal) answer(req *http.Request, now time.Time) *http.Response {
	header := r.header.Clone()
	header.Set("Retry-After", strconv.Itoa(max(int(math.Ceil(r.until.Sub(now).Seconds())), 1)))
	return &http.Response{
		Status: fmt.Sprintf("%d %s", r.status, http.StatusText(r.status)), StatusCode: r.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Body: io.NopCloser(bytes.NewReader(r.body)), ContentLength: int64(len(r.body)),
		Request: req,
	}
}

// retryAfter parses the header of that name: seconds, or a date. What cannot be
// understood, or is over, is 0.
func retryAfter(header string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(header, 10, 64); err == nil {
		return time.Duration(min(seconds, uint64(MaxPause/time.Second))) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxPause)
}
