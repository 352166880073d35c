package registry

import (
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A bubble is a registry and a client in a time of their own.
type bubble struct {
	*testing.T
	server *registrytest.Server
	pipe   *registrytest.Pipe
	client *Client
	begun  time.Time
}

// inBubble runs a test with a registry and a client that repeats requests, unless
// the options say otherwise. There the time passes when everybody waits for it.
func inBubble(t *testing.T, server registrytest.Options, opts Options, test func(*bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		pipe := registrytest.NewPipe()
		server.Listener = pipe
		if opts.Retries == 0 {
			opts.Retries = DefaultRetries
		}
		opts.Dial = pipe.Dial
		test(&bubble{T: t, server: registrytest.Start(t, server), pipe: pipe, client: clientOf(t, opts), begun: time.Now()})
	})
}

func (b *bubble) repository(name string) *Repository {
	b.Helper()
	return repositoryOf(b, b.client, b.server.Host()+"/"+name)
}

// passed is the time since the test began.
func (b *bubble) passed() time.Duration { return time.Since(b.begun) }

// first answers the first n requests that it sees with the fault.
func first(n int, fault registrytest.Fault) registrytest.Fault {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		mu.Lock()
		n--
		broken := n >= 0
		mu.Unlock()
		if broken {
			fault(w, r, req, next)
			return
		}
		next(w, r)
	}
}

// wants answers that the host wants to be left alone.
func wants(status int, retryAfter string) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		w.Header().Set("Retry-After", retryAfter)
		registrytest.Refuse(status, "TOOMANYREQUESTS", "slow down")(w, r, req, next)
	}
}
