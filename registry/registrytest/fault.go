package registrytest

import (
	"net/http"
	"time"
)

// A Fault answers a request in place of the registry, or calls next to let the
// registry, or the fault put in before it, answer. It is called from several
// goroutines at once.
type Fault func(w http.ResponseWriter, r *http.Request, req Request, next http.HandlerFunc)

// Break puts a fault in; it stays until [Server.Heal].
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append([]Fault{f}, s.faults...)
}

// Heal takes all faults out.
func (s *Server) Heal() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = nil
}

// Only lets a fault see requests of one kind.
func Only(kind Kind, f Fault) Fault {
	return func(w http.ResponseWriter, r *http.Request, req Request, next http.HandlerFunc) {
		if req.Kind == kind {
			f(w, r, req, next)
			return
		}
		next(w, r)
	}
}

// Refuse answers with a status, as a registry says errors.
func Refuse(status int, code, message string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ Request, _ http.HandlerFunc) {
		refuse(w, status, code, message)
	}
}

// Silent answers nothing until the client leaves or the test ends.
func (s *Server) Silent() Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ Request, _ http.HandlerFunc) {
		select {
		case <-r.Context().Done():
		case <-s.done:
		}
		panic(http.ErrAbortHandler)
	}
}

// Hold keeps answers back until release is closed.
func (s *Server) Hold(release <-chan struct{}) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ Request, next http.HandlerFunc) {
		select {
		case <-release:
			next(w, r)
		case <-r.Context().Done():
		case <-s.done:
		}
	}
}

// Rangeless ignores the Range header, as some proxies do.
func Rangeless() Fault {
	return func(w http.ResponseWriter, r *http.Request, _ Request, next http.HandlerFunc) {
		r.Header.Del("Range")
		next(w, r)
	}
}

// CutAfter drops the connection after n bytes of a body.
func CutAfter(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ Request, next http.HandlerFunc) {
		next(&editor{ResponseWriter: w, edit: func(b []byte, at int64) ([]byte, bool) {
			if left := n - at; int64(len(b)) >= left {
				return b[:max(left, 0)], false
			}
			return b, true
		}}, r)
	}
}

// FlipAt flips a bit of each body's byte at n.
func FlipAt(n int64) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ Request, next http.HandlerFunc) {
		next(&editor{ResponseWriter: w, edit: func(b []byte, at int64) ([]byte, bool) {
			if at <= n && n < at+int64(len(b)) {
				b = append([]byte{}, b...)
				b[n-at] ^= 1
			}
			return b, true
		}}, r)
	}
}

// Trickle sends bodies in pieces of n bytes, with a pause after each.
func (s *Server) Trickle(n int, pause time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, _ Request, next http.HandlerFunc) {
		next(&trickler{w, n, func() bool {
			select {
			case <-time.After(pause):
				return true
			case <-r.Context().Done():
			case <-s.done:
			}
			return false
		}}, r)
	}
}

// editor changes a body on its way.
type editor struct {
	http.ResponseWriter
	at   int64
	edit func(b []byte, at int64) (out []byte, goOn bool)
}

func (e *editor) Write(b []byte) (int, error) {
	out, goOn := e.edit(b, e.at)
	e.at += int64(len(b))
	if _, err := e.ResponseWriter.Write(out); err != nil {
		return 0, err
	}
	if !goOn {
		_ = http.NewResponseController(e.ResponseWriter).Flush() // the drop follows anyway
		panic(http.ErrAbortHandler)
	}
	return len(b), nil
}

type trickler struct {
	http.ResponseWriter
	piece int
	pause func() bool
}

func (t *trickler) Write(b []byte) (int, error) {
	for done := 0; done < len(b); {
		n, err := t.ResponseWriter.Write(b[done:min(done+t.piece, len(b))])
		done += n
		if err != nil {
			return done, err
		}
		if err := http.NewResponseController(t.ResponseWriter).Flush(); err != nil {
			return done, err
		}
		if !t.pause() {
			panic(http.ErrAbortHandler)
		}
	}
	return len(b), nil
}
