package chaos

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// piece is in what pieces the registry sends bodies here, with a pause after each:
// a copy is to take long enough for kills, and what was sent is to have come.
const piece = 64 << 10

// lost is what a kill may cost a connection, at most: two pieces, since one may be
// in a socket and one in the process, and chunks that they do not fill.
const lost = 2*piece + 2*(16<<10)

// TestKills kills processes of two mounts on one cache directory while both are
// copied from. A copy fails with its process, and with no other; it is right
// otherwise; and nothing is downloaded twice but what was on its way.
func TestKills(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	cache := b.home(t, "cache")
	random := rand.New(rand.NewPCG(1, 2))
	copiers := []*copier{{mount: b.mount(t, cache)}, {mount: b.mount(t, cache)}}
	var active atomic.Int64 // bodies of blobs that are being sent
	trickle := r.Trickle(piece, 10*time.Millisecond)
	slow := registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, req *http.Request, asked registrytest.Request, next http.HandlerFunc) {
		active.Add(1)
		defer active.Add(-1)
		trickle(w, req, asked, next)
	})
	kills, all := 0, times(200, 12)
	for n := 0; kills < all; n++ {
		r.Heal()
		repository := fmt.Sprint("a", n)
		i := b.push(t, r, repository, registrytest.ImageSpec{Layers: []int64{12 << 20, 4 << 20, 1000}, Seed: uint64(n)})
		r.Break(slow)
		for _, c := range copiers {
			c.begin(t, i)
		}
		var underWay int64 // bodies at kills, added up
		for range min(2+random.IntN(6), all-kills) {
			<-time.After(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
			c := copiers[random.IntN(len(copiers))]
			underWay += active.Load()
			c.mount.kill(t)
			kills++
			c.end(t, true)
			c.mount.start(t)
			c.begin(t, i)
		}
		for _, c := range copiers {
			c.end(t, false)
			c.begin(t, i) // from the cache
			c.end(t, false)
		}
		if sent, limit := r.Sent(), i.blobs+underWay*lost; sent > limit {
			t.Errorf("%d bytes were sent of blobs of %d, with %d bodies under way at kills", sent, i.blobs, underWay)
		}
		for _, d := range i.layers { // they are not to fill the memory, nor the disk
			r.DeleteBlob(repository, d)
		}
		if err := os.Remove(i.path); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills; copies: %d right, %d failed with their process", kills,
		copiers[0].right+copiers[1].right, copiers[0].failed+copiers[1].failed)
	if left, _ := filepath.Glob(filepath.Join(cache, "partial", "*", "*")); len(left) > 0 {
		t.Errorf("partial files of images that are whole: %v", left)
	}
}

// A copier copies from a mount, one copy at a time.
type copier struct {
	mount         *mounted
	image         image
	wait          func() outcome
	right, failed int
}

func (c *copier) begin(t *testing.T, i image) {
	t.Helper()
	c.image, c.wait = i, c.mount.bench.start(t, "cat", c.mount.in(i.dir, "image.tar"))
}

// end waits for the copy, which may fail if the process of the mount was killed.
func (c *copier) end(t *testing.T, killed bool) {
	t.Helper()
	o := c.wait()
	switch {
	case c.image.isIt(o):
		c.right++
	case o.hung:
		t.Errorf("a copy hangs: %v", o)
	case o.err == nil:
		t.Errorf("a wrong copy: %v", o)
	case !killed:
		t.Errorf("a copy failed whose mount was not killed: %v", o)
	default:
		c.failed++
	}
}
