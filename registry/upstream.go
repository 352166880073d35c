package registry

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

// requestsPerHost is how many requests a host has at once, for blobs and for the
// rest each.
const requestsPerHost = 32

// An upstream is a host as requests meet it: a registry, a mirror, a token server,
// or what they redirect to. It is safe for concurrent use.
type upstream struct {
	pause            pause
	breaker          *breaker
	budget           budget
	vain             *lru.Cache[string, time.Time] // by subject: when it was repeated in vain
	persistent       sync.Map                      // subject → nothing: what one request repeats more than once
	documents, blobs chan struct{}                 // as long as there are requests
	large            chan struct{}                 // as long as there are answers in memory that are long
}

const (
	// vainFor is how long nothing is repeated of what was repeated in vain: it is
	// broken, or so is the host, and those who come next find out by one request each.
	vainFor = 5 * time.Second
	// rememberedVain bounds how much of that is remembered.
	rememberedVain = 1000
)

// forScope marks the context of a request for a token with what the token is for.
type forScope struct{}

// subject is what a request asks its host for, to know those by that ask for the same.
// A token server has one path for all scopes, which a POST does not even have in its
// address, and a mirror may have one for several registries. The rest of an address tells
// nothing: what a redirect has signed is another each time.
func subject(req *http.Request) string {
	scope, _ := req.Context().Value(forScope{}).(string)
	return req.URL.Path + " " + req.URL.Query().Get("ns") + " " + scope
}

// inVain says whether a subject was repeated in vain of late.
func (u *upstream) inVain(subject string, now time.Time) bool {
	last, ok := u.vain.Get(subject)
	return ok && now.Sub(last) < vainFor
}

// persist lets one request at a time for a subject repeat it more than once: of the
// ranges of a blob that fails each is repeated once, as after connections that broke,
// and one finds out whether it is for good. It is followed by desist.
func (u *upstream) persist(subject string) bool {
	_, others := u.persistent.LoadOrStore(subject, nil)
	return !others
}

func (u *upstream) desist(subject string) { u.persistent.Delete(subject) }

// slot waits until the host has few enough requests to take another. A slow host's
// are waited for as long as ctx allows; of one that turns out to be down, who waits
// is sent away: each in turn would find that out anew.
func (u *upstream) slot(ctx context.Context, blob bool) (release func(), err error) {
	slots := u.documents
	if blob {
		slots = u.blobs
	}
	release = sync.OnceFunc(func() { <-slots })
	select {
	case slots <- struct{}{}:
		return release, nil
	default:
	}
	select {
	case slots <- struct{}{}:
		return release, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-u.breaker.gone():
		return nil, u.breaker.refusal()
	}
}

// upstreams are all hosts that were asked, by scheme and name: what a host does
// with TLS says nothing of the same without.
type upstreams struct {
	log *slog.Logger // set once

	mu  sync.Mutex
	all map[string]*upstream // guarded by mu
}

// rememberedUpstreams bounds them. When there are more, all are forgotten, and what
// is known of them is found out anew.
const rememberedUpstreams = 1000

func newUpstreams(log *slog.Logger) *upstreams {
	return &upstreams{log: log, all: map[string]*upstream{}}
}

// trouble adds to hosts why nothing is sent to them.
func (s *upstreams) trouble(hosts map[string]HostStats, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, u := range s.all {
		why := ""
		if since, down := u.breaker.down(); down {
			why = "down since " + since.UTC().Format(time.RFC3339)
		} else if left, _ := u.pause.left(now); left > 0 {
			why = "left alone until " + now.Add(left).UTC().Format(time.RFC3339)
		}
		if h, ok := hosts[u.breaker.host]; ok && why != "" {
			h.Trouble = why
			hosts[u.breaker.host] = h
		}
	}
}

func (s *upstreams) of(at *url.URL) *upstream {
	key := at.Scheme + "://" + at.Host
	s.mu.Lock()
	defer s.mu.Unlock()
	if u, ok := s.all[key]; ok {
		return u
	}
	if len(s.all) >= rememberedUpstreams {
		clear(s.all)
	}
	vain, err := lru.New[string, time.Time](rememberedVain)
	if err != nil {
		panic(err) // the only error is a size that is not positive
	}
	u := &upstream{
		vain: vain,
		pause: pause{begun: func(wait time.Duration) {
			s.log.Warn("a host wants to be left alone", "host", at.Host, "for", wait.Round(time.Second).String())
		}},
		breaker:   newBreaker(at.Host),
		documents: make(chan struct{}, requestsPerHost),
		blobs:     make(chan struct{}, requestsPerHost),
		large:     make(chan struct{}, largeDocuments),
	}
	s.all[key] = u
	return u
}
