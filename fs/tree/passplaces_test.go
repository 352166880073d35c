package tree

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

var errNothingCame = errors.New("nothing came for a minute")

// lookPatiently looks a name up as an operation of a mount does: it ends a minute after
// something has come.
func lookPatiently(ctx context.Context, dir Dir, name string) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	timer := time.AfterFunc(time.Minute, func() { end(errNothingCame) })
	defer timer.Stop()
	_, err := dir.Lookup(WithAdvanced(ctx, func() {
		if timer.Stop() {
			timer.Reset(time.Minute)
		}
	}), name)
	return err
}

// pushEach pushes images app0, app1 and so on, each of a layer of its own, and returns what is
// in them.
func (f *fixture) pushEach(n, size int, byTable bool) []Dir {
	f.t.Helper()
	dirs := make([]Dir, n)
	for i := range dirs {
		repo := fmt.Sprintf("app%d", i)
		plain := registrytest.Archive(f.t, registrytest.Regular("a", repo+noise(size)))
		added := mutate.Addendum{Layer: registrytest.Gzipped(f.t, plain)}
		if byTable {
			added.Layer, added.Annotations = registrytest.Stargz(f.t, plain)
		}
		f.server.Push(f.t, repo, "1", registrytest.ImageWith(f.t, added))
		dirs[i] = f.find(repo + "/tags/1/rootfs").(Dir)
	}
	return dirs
}

// isLayer says whether a request is for bytes of a layer, and not for a config.
func isLayer(req registrytest.Request, layers map[string]bool) bool {
	return req.Kind == registrytest.Blob && layers[req.Reference]
}

// layersOfAll are the digests of the layers of images, as a registry is asked for them.
func layersOfAll(dirs []Dir) map[string]bool {
	all := map[string]bool{}
	for _, d := range dirs {
		for _, l := range d.(rootfsDir).image.layers {
			all[l.Digest.String()] = true
		}
	}
	return all
}

// TestPassInLineAdvances: "A look into an image waits for as long as its layers come, or those
// that are read before them, and a minute when nothing does."
func TestPassInLineAdvances(t *testing.T) {
	type fault = registrytest.Fault
	// The encoder that all passes of the process share has a channel, which must not be of a
	// bubble.
	outside := newFixture(t, registrytest.Options{})
	if err := lookPatiently(t.Context(), outside.pushEach(1, 5<<20, false)[0], "a"); err != nil {
		t.Fatal(err)
	}
	late := func(wait time.Duration) fault {
		return func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
			select {
			case <-time.After(wait):
				next(w, r)
			case <-r.Context().Done():
			}
		}
	}
	slow := func(s *registrytest.Server) fault { return s.Trickle(32<<10, 5*time.Second) }
	silent := func(s *registrytest.Server) fault { return s.Silent() }
	stalls := func(s *registrytest.Server) fault { return s.Trickle(1<<10, time.Hour) }
	answersLate := func(*registrytest.Server) fault { return late(25 * time.Second) }
	for name, c := range map[string]struct {
		kind         placeKind
		ahead        int                              // how many are begun before
		first, other func(*registrytest.Server) fault // of the first and the last, and of the others
		want         error
		least        time.Duration // that it takes
	}{
		"layers come":        {largePlace, placesOfHost[largePlace], slow, slow, nil, 2 * time.Minute},
		"one of them comes":  {largePlace, placesOfHost[largePlace], slow, stalls, nil, 2 * time.Minute},
		"none comes":         {largePlace, placesOfHost[largePlace], silent, silent, errNothingCame, time.Minute},
		"small layers":       {smallPlace, 16, answersLate, answersLate, nil, 75 * time.Second},
		"tables of contents": {tablePlace, 64, answersLate, answersLate, nil, 75 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, registrytest.Options{}, func(f *fixture) {
				size := 5 << 20
				if c.kind != largePlace {
					size = 1 << 10
				}
				dirs := f.pushEach(c.ahead+1, size, c.kind == tablePlace)
				last := len(dirs) - 1
				layers, first, other := layersOfAll(dirs), c.first(f.server), c.other(f.server)
				f.server.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
					switch {
					case !isLayer(req, layers):
						next(w, r)
					case req.Repository == "app0" || req.Repository == fmt.Sprintf("app%d", last):
						first(w, r, req, next)
					default:
						other(w, r, req, next)
					}
				})
				for _, d := range dirs[:last] {
					go func() { _ = lookPatiently(f.t.Context(), d, "a") }()
				}
				synctest.Wait()
				if got := len(f.tree.Passes()); got != last {
					f.t.Fatalf("%d layers are being read, want %d", got, last)
				}
				begun := time.Now()
				if err := lookPatiently(f.t.Context(), dirs[last], "a"); !errors.Is(err, c.want) {
					f.t.Errorf("after %v: %v, want %v", time.Since(begun), err, c.want)
				}
				if took := time.Since(begun); took < c.least || c.want != nil && took > c.least {
					f.t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// TestSmallLayerOvertakes: a look into an image of a small layer does not wait for the large
// ones that are read, nor for those that wait for that.
func TestSmallLayerOvertakes(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	large := f.pushEach(2*placesOfHost[largePlace], 5<<20, false)
	f.pushLayers("small", "1", filesLayer(t, registrytest.Regular("a", "small")))
	layers := layersOfAll(large)
	f.server.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if isLayer(req, layers) {
			f.server.Silent()(w, r, req, next)
			return
		}
		next(w, r)
	})
	for _, d := range large {
		image := d.(rootfsDir).image
		f.tree.passes.begin(image.repo, image.layers[0])
	}
	if got := contentOf(t, f.find("small/tags/1/rootfs/a")); got != "small" {
		t.Errorf("a is %q", got)
	}
}

// TestPassOrder: those that somebody waits for go first, and of these the one that was begun
// first; nobody goes twice, and who leaves the line gets nothing.
func TestPassOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &places{free: 1}
		var order []uint64
		passOf := func(number uint64) *pass {
			return &pass{number: number, places: s, done: make(chan struct{}), waiting: map[*waiter]struct{}{}}
		}
		stand := func(ctx context.Context, p *pass) {
			go func() {
				if p.enter(ctx) == nil {
					order = append(order, p.number)
				}
				p.leave()
			}()
		}
		holder := passOf(0)
		holder.tryEnter()
		left, leave := context.WithCancel(t.Context())
		// In which order they come to the line is chance.
		passes := map[uint64]*pass{}
		for _, number := range []uint64{4, 2, 6, 1, 5, 3} {
			passes[number] = passOf(number)
			ctx := t.Context()
			if number == 2 {
				ctx = left
			}
			stand(ctx, passes[number])
		}
		for _, number := range []uint64{2, 3, 5} {
			go func() { _ = passes[number].wait(t.Context(), func(int64) {}) }()
		}
		synctest.Wait()
		leave()
		synctest.Wait()
		holder.leave()
		synctest.Wait()
		if want := []uint64{3, 5, 1, 4, 6}; !slices.Equal(order, want) {
			t.Errorf("the order is %v, want %v", order, want)
		}
		if s.free != 1 || len(s.line) != 0 {
			t.Errorf("%d places are free, and %d passes in the line", s.free, len(s.line))
		}
		for _, p := range passes {
			close(p.done)
		}
	})
}
