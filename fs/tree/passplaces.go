package tree

import (
	"context"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A placeKind is a way to read a layer. So many of one registry are read at once in each.
type placeKind int

const (
	// largePlace is for layers of which all is read: their bytes come over as many
	// connections as the read-ahead has, and each takes most of a processor and some
	// megabytes.
	largePlace placeKind = iota
	// smallPlace is for those of up to smallLayer bytes, which are all round trip.
	smallPlace
	// tablePlace is for tables of contents: each is a request and a few bytes, and whoever
	// looks into an image waits for all of them.
	tablePlace
)

// placesOfHost is how many places of each kind a registry has.
var placesOfHost = [...]int{largePlace: 4, smallPlace: 8, tablePlace: 32}

// smallLayer is up to which size, compressed, in bytes, a layer is small.
const smallLayer = 4 << 20

// placesKey is what has a number of places.
type placesKey struct {
	host string
	kind placeKind
}

// placesOf are the places that a layer takes one of to be read, by its table of contents or
// all of it. p.mu is held.
func (p *passes) placesOf(r *repository, d v1.Descriptor, byTable bool) chan struct{} {
	host, _, _ := strings.Cut(r.name(), "/")
	key := placesKey{host, largePlace}
	switch {
	case byTable:
		key.kind = tablePlace
	case d.Size <= smallLayer:
		key.kind = smallPlace
	}
	places, ok := p.places[key]
	if !ok {
		places = make(chan struct{}, placesOfHost[key.kind])
		p.places[key] = places
	}
	return places
}

// tryEnter takes a place if there is one, so that those that were begun first come first.
func (p *pass) tryEnter() {
	select {
	case p.places <- struct{}{}:
		p.has = true
	default:
	}
}

// enter waits until the pass has its place.
func (p *pass) enter(ctx context.Context) error {
	if p.has {
		return nil
	}
	select {
	case p.places <- struct{}{}:
		p.has = true
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// leave gives the place back, if the pass has it.
func (p *pass) leave() {
	if p.has {
		<-p.places
		p.has = false
	}
}
