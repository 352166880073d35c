package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"sync"
)

const (
	// maxDocument is how much of an answer that is no blob is read before it is
	// handed on.
	maxDocument = max(maxManifest, maxPage)
	// smallDocument is how long most of them are at most. Of those that are longer a host
	// has largeDocuments at once in memory: with as many as it has requests, one that
	// sends the longest answers that are taken would fill a quarter of a gigabyte.
	smallDocument  = 1 << 20
	largeDocuments = 4
)

// hold reads an answer's body so that it cannot break any more. What came of a
// broken one is enough where it only says what is wrong. Of a long one the room is
// waited for until ctx ends; it is given back when the body is closed.
func hold(ctx context.Context, resp *http.Response, up *upstream) error {
	body := resp.Body
	b, err := io.ReadAll(io.LimitReader(body, smallDocument))
	release := func() {}
	if err == nil && len(b) == smallDocument {
		select {
		case up.large <- struct{}{}:
			release = func() { <-up.large }
		case <-ctx.Done():
			_ = body.Close() // nothing of it is used
			return context.Cause(ctx)
		}
		rest := bytes.NewBuffer(b)
		_, err = rest.ReadFrom(io.LimitReader(body, maxDocument+1-smallDocument))
		b = rest.Bytes()
	}
	if err != nil && resp.StatusCode < 300 {
		release()
		_ = body.Close() // nothing of it is used
		return err
	}
	if err == nil && len(b) > maxDocument {
		// It has no end, and its reader will say so.
		resp.Body = releasing(readCloser{io.MultiReader(bytes.NewReader(b), body), body}, release)
		return nil
	}
	_ = body.Close() // all of it was read
	resp.Body = releasing(io.NopCloser(bytes.NewReader(b)), release)
	return nil
}

type readCloser struct {
	io.Reader
	io.Closer
}

// releasing is a body that gives something back when it is closed, once.
func releasing(body io.ReadCloser, release func()) io.ReadCloser {
	return &releasingBody{ReadCloser: body, release: sync.OnceFunc(release)}
}

type releasingBody struct {
	io.ReadCloser
	release func()
}

func (r *releasingBody) Close() error {
	defer r.release()
	return r.ReadCloser.Close()
}
