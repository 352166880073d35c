package manners

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// fetched is how often blobs were asked for, and how many bytes of them came.
type fetched struct {
	requests int
	bytes    int64
}

func (f fetched) String() string { return fmt.Sprintf("%d requests, %d bytes", f.requests, f.bytes) }

func isPage(r distributiontest.Request) bool { return strings.Contains(r.Path, "/tags/list") }

func count(requests []distributiontest.Request, wanted func(distributiontest.Request) bool) (n int) {
	for _, r := range requests {
		if wanted(r) {
			n++
		}
	}
	return n
}

// stored is what the other host, if there is one, has sent until now.
func (s *site) stored() fetched {
	if s.other == nil {
		return fetched{}
	}
	asked, sent := s.other.requests()
	return fetched{len(asked), sent}
}

// fetched is what came since a mark of the registry, and since the other host had
// sent so much.
func (s *site) fetched(t *testing.T, mark distributiontest.Mark, before fetched) fetched {
	t.Helper()
	if s.other != nil {
		now := s.stored()
		return fetched{now.requests - before.requests, now.bytes - before.bytes}
	}
	var f fetched
	for _, r := range s.registry.Since(t, mark) {
		if r.IsBlob() {
			f.requests++
			f.bytes += r.Sent
		}
	}
	return f
}

// checkStorage: "Credentials go to the host that they are for and no other."
func (s *site) checkStorage(t *testing.T) {
	t.Helper()
	if s.other == nil {
		return
	}
	asked, _ := s.other.requests()
	if len(asked) == 0 {
		t.Error("nobody went where the registry sends to")
	}
	for _, header := range asked {
		for _, name := range []string{"Authorization", "Cookie", "Referer"} {
			if header[http.CanonicalHeaderKey(name)] != nil {
				t.Errorf("the other host was sent %s", name)
			}
		}
	}
}

// How many requests blobs may take of who reads a part of a large one and then
// all, where there are no ranges: to find that out, an answer to a reader in the
// middle, and later one to each range that is asked for at once by who reads the
// whole; and then the blob itself, each time. A small one is found out at once.
const (
	largeWithoutRanges = 8
	smallWithoutRanges = 3
)

// checkFetched holds what came to what was wanted: a part, then the whole.
func (s *site) checkFetched(t *testing.T, b *bench, u *user, part, whole fetched) {
	t.Helper()
	size := b.content.size
	if s.front.rangeless {
		// What the proxy fetched and nobody took is the proxy's. The reader of the part
		// came to its middle, the other one began at the beginning again, and both took
		// something of the answers by which they found out.
		if got := u.status(t).Mount.Cache.Fetched; got < size || got > size*5/2 {
			t.Errorf("%d bytes took %d", size, got)
		}
		small := len(layersOf(t, b.content.image)) // with the config, without the large one
		if most := largeWithoutRanges + small*smallWithoutRanges; whole.requests > most {
			t.Errorf("%d and one large blob took %v, want at most %d requests", small, whole, most)
		}
		return
	}
	if part.bytes > size/8 {
		t.Errorf("a part of %d bytes took %v", size, part)
	}
	if whole.bytes > size+size/100 {
		t.Errorf("%d bytes took %v", size, whole)
	}
}
