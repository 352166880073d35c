package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"
)

const (
	// DefaultRetries is how often a request is repeated, unless told otherwise.
	DefaultRetries = 3
	// firstBackOff is waited for before the first repetition, backOffFactor times
	// as long before each further one; each by up to half less, so that those who
	// failed together do not come back together.
	firstBackOff  = 100 * time.Millisecond
	backOffFactor = 3
	// retryWithin is how long after its beginning a request is no longer repeated,
	// not counting what its host asked to be left alone for. With as much for the
	// last answer to come, that is the minute that an operation of a mount has.
	retryWithin = 30 * time.Second
)

// steady is the RoundTripper between the sessions and the wire that gets one
// answer out of several requests. It knows of each host when that wants to be left
// alone (pause.go), whether it is down (breaker.go), and how much it is asked at
// once (upstream.go). Redirects are above it: each hop is a request of its own.
type steady struct {
	inner     http.RoundTripper
	upstreams *upstreams
	retries   int
	// maxWait is how long a request without a deadline waits for a host that wants
	// to be left alone.
	maxWait time.Duration
	// passesOn has nobody wait for such a host at all.
	passesOn bool
}

// RoundTrip sends a request until an answer is worth handing on, but no oftener
// than is good for the host. An answer that is no blob comes with all of its body:
// one that breaks is as good as none, and asked for again. Whoever is turned away
// since the host wants to be left alone gets the answer in which it said so.
func (s *steady) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	up := s.upstreams.of(req.URL)
	asked := subject(req)
	var spent time.Duration
	persists := false
	defer func() {
		if persists {
			up.desist(asked)
		}
	}()
	for tries := 0; ; tries++ {
		resp, took, err := s.try(req, up)
		spent += took
		if ctx.Err() != nil || !isPassing(resp, err) {
			if err == nil {
				up.budget.earn()
				up.vain.Remove(asked)
			}
			return resp, err
		}
		if tries >= s.retries || up.inVain(asked, time.Now()) {
			up.vain.Add(asked, time.Now())
			return resp, err
		}
		if persists = persists || tries > 0 && up.persist(asked); tries > 0 && !persists {
			return resp, err // another finds out
		}
		wait := backOff(tries)
		if left, _ := up.pause.left(time.Now()); left > 0 {
			if !s.waits(ctx, left) {
				return resp, err
			}
			wait = 0 // the next try waits for the pause
		}
		spent += wait
		if spent >= retryWithin || !s.waits(ctx, wait) || !up.budget.take(time.Now()) {
			return resp, err
		}
		next, rewindErr := rewound(req)
		if rewindErr != nil {
			return resp, err
		}
		if resp != nil {
			closeBody(resp)
		}
		if err := sleep(ctx, wait); err != nil {
			return nil, err
		}
		req = next
	}
}

// try sends a request once, when its host may be asked. took is how long the
// answer took, without what was waited for before.
func (s *steady) try(req *http.Request, up *upstream) (resp *http.Response, took time.Duration, err error) {
	ctx := req.Context()
	blob := ctx.Value(forBlob{}) != nil
	release, refused, err := s.enter(ctx, up, blob)
	if err != nil {
		return nil, 0, err
	}
	if refused != nil {
		return refused.answer(req, time.Now()), 0, nil
	}
	probe, err := up.breaker.enter(time.Now())
	if err != nil {
		release()
		return nil, 0, err
	}
	begun := time.Now()
	sent := false // not after a panic either
	defer func() {
		took = time.Since(begun)
		if !sent {
			release()
		}
	}()
	if resp, err = s.send(req, up, probe); err != nil {
		return nil, 0, err
	}
	up.pause.heed(resp, time.Now())
	resp.Body = releasing(resp.Body, release)
	if !blob && resp.ContentLength <= maxDocument {
		if err = hold(ctx, resp, up); err != nil {
			return nil, 0, err
		}
	}
	sent = true
	return resp, 0, nil
}

// send sends a request, and tells the breaker how that ended as soon as an answer
// begins: how long all of it takes says nothing of whether somebody is there.
func (s *steady) send(req *http.Request, up *upstream, probe bool) (resp *http.Response, err error) {
	left := unclear // as a panic does
	defer func() { up.breaker.leave(probe, left, err, time.Now()) }()
	resp, err = s.inner.RoundTrip(req)
	left = outcomeOf(req.Context(), err)
	return resp, err
}

// enter waits until the host may be asked, and for one of its slots, which release
// gives back. refused is why it may not be for longer than is waited.
func (s *steady) enter(ctx context.Context, up *upstream, blob bool) (release func(), refused *refusal, err error) {
	for {
		if left, said := up.pause.left(time.Now()); left > 0 {
			if !s.waits(ctx, left) {
				return nil, said, nil
			}
			// All who wait would come at once.
			if err := sleep(ctx, left+rand.N(min(left/10, time.Second)+1)); err != nil {
				return nil, nil, err
			}
			continue
		}
		release, err := up.slot(ctx, blob)
		if err != nil {
			return nil, nil, err
		}
		if left, _ := up.pause.left(time.Now()); left == 0 {
			return release, nil, nil
		}
		release() // it said so while a slot was waited for
	}
}

// waits says whether it makes sense to wait so long.
func (s *steady) waits(ctx context.Context, wait time.Duration) bool {
	if s.passesOn {
		return false
	}
	if deadline, ok := ctx.Deadline(); ok {
		return time.Now().Add(wait).Before(deadline)
	}
	return wait <= s.maxWait
}

// rewound is a request that can be sent once more.
func rewound(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req, nil
	}
	if req.GetBody == nil {
		return nil, errors.New("its body is gone")
	}
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	again := *req
	again.Body = body
	return &again, nil
}

func backOff(tries int) time.Duration {
	d := firstBackOff
	for range tries {
		d = min(d*backOffFactor, retryWithin)
	}
	return d - rand.N(d/2+1)
}

// sleep waits, or until ctx ends, which is the error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// isPassing says whether what came of a request may be otherwise the next time.
// All requests of this package may be repeated: none changes anything.
func isPassing(resp *http.Response, err error) bool {
	if err != nil {
		return isTransient(err)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// isTransient says whether an error is of a connection that could not be made, or
// that broke. What is not known to be is none: a certificate, a refusal of ours, an
// answer that is none.
func isTransient(err error) bool {
	switch {
	case errors.Is(err, ErrDown), isFinal(err):
		return false
	case isUnreachable(err), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.ECONNABORTED):
		return true
	}
	// These types are not exported: a stream that was reset, a connection that is
	// being shut down, or did not answer a ping.
	text := err.Error()
	return strings.Contains(text, "stream error: ") || strings.Contains(text, "http2: ") || strings.Contains(text, "server closed idle connection")
}

// isUnreachable says whether an error is that of a host that is not there: nobody
// listens, no way leads there, or nothing comes back.
func isUnreachable(err error) bool {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return true
	}
	var op *net.OpError
	if !errors.As(err, &op) {
		return false
	}
	if op.Op == "proxyconnect" { // wraps what the proxy could not be reached for
		return isUnreachable(op.Err)
	}
	return op.Op == "dial"
}

// isFinal says whether an error would be the same the next time: a name that does
// not exist, a request that is refused here, TLS that is not agreed on.
func isFinal(err error) bool {
	var name *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	return errors.Is(err, ErrPlainHTTP) || errors.Is(err, ErrRedirect) || errors.As(err, &name) && name.IsNotFound ||
		errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert) || errors.Is(err, http.ErrSchemeMismatch)
}
