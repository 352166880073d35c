package tree

import (
	"cmp"
	"context"
	"runtime"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A placeKind is a way to read a layer. So many of one registry are read at once in each.
type placeKind int

const (
	// largePlace is for layers of which all is read: their bytes come over as many
	// connections as the read-ahead has, and each takes most of a processor and some
	// megabytes. There is one for each processor, but for two at least and four at most:
	// those in one more would take from the largest layer, which is begun first and then
	// would be alone in the end.
	largePlace placeKind = iota
	// smallPlace is for those of up to smallLayer bytes, which are all round trip.
	smallPlace
	// tablePlace is for tables of contents: each is a request and a few bytes, and whoever
	// looks into an image waits for all of them.
	tablePlace
)

// placesOfHost is how many places of each kind a registry has.
var placesOfHost = [...]int{largePlace: min(max(runtime.GOMAXPROCS(0), 2), 4), smallPlace: 8, tablePlace: 32}

// smallLayer is up to which size, compressed, in bytes, a layer is small.
const smallLayer = 4 << 20

// placesKey is what has a number of places.
type placesKey struct {
	host string
	kind placeKind
}

// places are those of one kind that a registry has, and the line for them. They are safe for
// concurrent use.
type places struct {
	mu   sync.Mutex
	free int     // guarded by mu; none while a pass is in the line
	line []*pass // guarded by mu; those that were begun first are first
}

// placesOf are the places that a layer takes one of to be read, by its table of contents or
// all of it. p.mu is held.
func (p *passes) placesOf(r *repository, d v1.Descriptor, byTable bool) *places {
	host, _, _ := strings.Cut(r.name(), "/")
	key := placesKey{host, largePlace}
	switch {
	case byTable:
		key.kind = tablePlace
	case d.Size <= smallLayer:
		key.kind = smallPlace
	}
	s, ok := p.places[key]
	if !ok {
		s = &places{free: placesOfHost[key.kind]}
		p.places[key] = s
	}
	return s
}

// tryEnter takes a place if there is one, so that those that were begun first come first.
func (p *pass) tryEnter() {
	p.places.mu.Lock()
	defer p.places.mu.Unlock()
	p.take()
}

// take takes a place if there is one, or says that the pass has one. p.places.mu is held.
func (p *pass) take() bool {
	if !p.has && p.places.free > 0 {
		p.places.free--
		p.has = true
	}
	return p.has
}

// enter waits until the pass has its place.
func (p *pass) enter(ctx context.Context) error {
	s := p.places
	s.mu.Lock()
	if p.take() {
		s.mu.Unlock()
		return nil
	}
	p.turn = make(chan struct{})
	i, _ := slices.BinarySearchFunc(s.line, p.number, func(q *pass, number uint64) int { return cmp.Compare(q.number, number) })
	s.line = slices.Insert(s.line, i, p)
	s.mu.Unlock()
	select {
	case <-p.turn:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		// Where it has got its place meanwhile, it leaves that later.
		s.line = slices.DeleteFunc(s.line, func(q *pass) bool { return q == p })
		return context.Cause(ctx)
	}
}

// leave gives the place, if the pass has it, to the next in the line.
func (p *pass) leave() {
	s := p.places
	s.mu.Lock()
	defer s.mu.Unlock()
	if !p.has {
		return
	}
	p.has = false
	if len(s.line) == 0 {
		s.free++
		return
	}
	// Those that somebody waits for go first: of the other layers of an image that somebody
	// looks into nobody knows yet whether they are needed.
	i := max(slices.IndexFunc(s.line, (*pass).wanted), 0)
	next := s.line[i]
	s.line = slices.Delete(s.line, i, i+1)
	next.has = true
	close(next.turn)
}

// waiting are the passes in the line.
func (s *places) waiting() []*pass {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.line)
}
