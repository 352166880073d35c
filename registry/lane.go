package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
)

// A lane is one repository at one endpoint, where it has its own credentials and
// token: a mirror is never shown those of the registry, nor the registry those of
// a mirror.
type lane struct {
	*endpoint
	client *Client
	path   string   // the repository's, as its registry has it; "" for a catalog
	parsed resource // as the endpoint has it
	origin bool     // the registry itself, or what stands for it: the last to be asked

	admission contact[*session]
	used      atomic.Pointer[credentialsUsed] // last; nil before
	refusal   rest                            // of this repository, by an endpoint that is well
}

// lanes returns where the repository may be asked for, the registry last.
func (r *Repository) lanes(ctx context.Context) ([]*lane, error) {
	route, err := r.client.route(ctx, r.host)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.route != route {
		r.route, r.known = route, nil // those who ask by the old ones go on
		for i, e := range route.endpoints {
			r.known = append(r.known, &lane{
				endpoint: e, client: r.client, path: r.path(), parsed: e.repository(r.path()),
				origin: i == len(route.endpoints)-1,
			})
		}
	}
	return r.known, nil
}

// errNobody is a hosts.toml that leaves nobody to be asked.
var errNobody = errors.New("by hosts.toml nobody may be asked for this; see its capabilities")

// ask puts a question to the endpoints that may be asked for what it needs, in
// their order, until one has an answer. Whatever goes wrong is a reason to go on to
// the next: that a mirror does not have something says nothing of the registry, and
// one that serves something else than was asked for is no better. When all
// fail, the error is that of the last, which is the registry itself, and tells
// what its mirrors said.
func (r *Repository) ask(ctx context.Context, need capability, op, ref string, question func(*lane) error) error {
	all, err := r.lanes(ctx)
	if err != nil {
		return err
	}
	return askEach(ctx, able(all, need), op, ref, question)
}

// askEach is ask, of those who were chosen.
func askEach(ctx context.Context, lanes []*lane, op, ref string, question func(*lane) error) error {
	if len(lanes) == 0 {
		return &Error{Op: op, Ref: ref, Err: errNobody}
	}
	var err error
	var reasons []string
	for _, l := range lanes {
		if err = question(l); err == nil {
			l.rest.end()
			l.refusal.end()
			return nil
		}
		if ctx.Err() != nil {
			return err // whose caller left
		}
		l.failed(err)
		reasons = append(reasons, fmt.Sprintf("%s: %s", l.name(), cause(err)))
	}
	return afterMirrors(err, reasons[:len(reasons)-1])
}

// askBlob is ask for a blob. One that was wrong once the registry itself is asked
// for: nobody can say which mirror had it wrong, and parts of it came from any.
func (r *Repository) askBlob(ctx context.Context, d Digest, op, ref string, question func(*lane) error) error {
	all, err := r.lanes(ctx)
	if err != nil {
		return err
	}
	r.mu.Lock()
	wrong := r.wrong[d]
	r.mu.Unlock()
	origin := all[len(all)-1]
	if wrong && origin.config.can.has(pull) {
		all = []*lane{origin}
	}
	return askEach(ctx, able(all, pull), op, ref, question)
}

// rememberedWrong bounds what is known of wrong blobs; when there are more, all of
// it is forgotten.
const rememberedWrong = 1000

// Dispute is told that the bytes of a blob, once all were there, had another digest.
func (r *Repository) Dispute(d Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.wrong == nil || len(r.wrong) >= rememberedWrong {
		r.wrong = map[Digest]bool{}
	}
	r.wrong[d] = true
}

// able are the lanes that may be asked, without those that failed a moment ago: as
// long as any is left.
func able(all []*lane, need capability) []*lane {
	var may, well []*lane
	for _, l := range all {
		if !l.config.can.has(need) {
			continue
		}
		may = append(may, l)
		if l.origin || !l.rest.goesOn() && !l.refusal.goesOn() {
			well = append(well, l)
		}
	}
	if well == nil {
		return may
	}
	return well
}

// failed lets an endpoint rest that failed: for this repository where it refused, at
// all where it did not answer as it should, not where it only does not have what was
// asked for. The registry itself never rests: there is nobody to go to in its place.
func (l *lane) failed(err error) {
	if l.origin {
		return
	}
	var e *Error
	status := 0
	if errors.As(err, &e) {
		status = e.Status
	}
	switch {
	case errors.Is(err, ErrMismatch), status == http.StatusUnauthorized, status == http.StatusForbidden:
		l.refusal.begin()
	case status == 0 || status == http.StatusTooManyRequests || status >= 500:
		if l.rest.begin() {
			l.client.opts.Logger.Warn("a mirror failed; the next one is asked", "mirror", l.name(), "error", err)
		}
	}
}

// cause is what happened, without what was asked for.
func cause(err error) string {
	var e *Error
	if errors.As(err, &e) {
		err = e.Err
	}
	return err.Error()
}

// afterMirrors adds to an error what those said who were asked before. A copy is
// changed: errors of a first contact are shared.
func afterMirrors(err error, mirrors []string) error {
	var e *Error
	if len(mirrors) == 0 || !errors.As(err, &e) {
		return err
	}
	told := *e
	told.Mirrors = strings.Join(mirrors, "; ")
	return &told
}

// mirrorBody is an answer of a mirror. Where it breaks off the mirror rests, and who
// reads is told that it ended early: so that he asks for the rest, of the
// next one.
type mirrorBody struct {
	io.ReadCloser
	broke func(error) error
}

func (b mirrorBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = b.broke(err)
	}
	return n, err
}

// watched is the body of an answer, read on ctx.
func (l *lane) watched(ctx context.Context, body io.ReadCloser) io.ReadCloser {
	if l.origin {
		return body
	}
	return mirrorBody{body, l.broke(ctx)}
}

// broke returns what is told of a body that broke, or ended before it should: a
// connection that is closed is the end of a body that did not say how long it is. It
// returns the error for its reader. Of the registry itself there is nothing to be told.
func (l *lane) broke(ctx context.Context) func(error) error {
	if l.origin {
		return nil
	}
	return func(err error) error {
		if ctx.Err() != nil {
			return err
		}
		l.failed(err)
		return fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
}
