package chaos

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A mishap is something that a registry, or what stands before it, does to a
// request now and then.
type mishap struct {
	name   string
	weight int
	do     func(r *registrytest.Server, random int64) registrytest.Fault
	// errors are what a program may then fail with; none is: with nothing.
	errors []string
}

// Errors in the words of strerror(3).
const (
	ioError    = "Input/output error"
	timedOut   = "Connection timed out"
	badMessage = "Bad message"
)

var mishaps = []mishap{
	{"reset", 10, func(*registrytest.Server, int64) registrytest.Fault { return reset }, []string{ioError}},
	{"stall", 3, func(r *registrytest.Server, _ int64) registrytest.Fault { return r.Silent() }, []string{timedOut}},
	{"truncation", 10, func(_ *registrytest.Server, random int64) registrytest.Fault {
		return registrytest.CutAfter(random % 200_000)
	}, []string{ioError, badMessage}},
	{"429", 5, func(*registrytest.Server, int64) registrytest.Fault { return tooMany }, []string{"Resource temporarily unavailable"}},
	{"5xx", 10, func(_ *registrytest.Server, random int64) registrytest.Fault {
		return registrytest.Refuse(500+int(random%5), "UNKNOWN", "a mishap")
	}, []string{"Remote I/O error"}},
	{"401", 5, func(*registrytest.Server, int64) registrytest.Fault {
		return registrytest.Refuse(http.StatusUnauthorized, "UNAUTHORIZED", "a mishap")
	}, []string{"Permission denied"}},
	{"200 for a range", 10, func(*registrytest.Server, int64) registrytest.Fault { return registrytest.Rangeless() }, nil},
	{"flipped byte", 5, func(_ *registrytest.Server, random int64) registrytest.Fault {
		return registrytest.FlipAt(random % 1000)
	}, []string{badMessage}},
}

// retryAfter is what a 429 asks for, in seconds.
const retryAfter = 2

func tooMany(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
	w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	registrytest.Refuse(http.StatusTooManyRequests, "TOOMANYREQUESTS", "a mishap")(w, r, req, next)
}

// reset drops the connection as a machine that was restarted does.
func reset(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // or a mere close
	}
	_ = conn.Close() // that is the point
}

// A weather makes mishaps happen to a share of the requests.
type weather struct {
	registry *registrytest.Server
	percent  int

	mu     sync.Mutex
	random *rand.Rand                 // guarded by mu
	told   map[string]map[string]bool // guarded by mu; repository → names of mishaps
	until  map[string]time.Time       // guarded by mu; path → when it may be asked for again
	early  int                        // guarded by mu; requests before that
	count  map[string]int             // guarded by mu; by name of mishap
}

func newWeather(r *registrytest.Server, percent int) *weather {
	return &weather{
		registry: r, percent: percent, random: rand.New(rand.NewPCG(5, uint64(percent))),
		told: map[string]map[string]bool{}, until: map[string]time.Time{}, count: map[string]int{},
	}
}

// fault is put into the registry.
func (e *weather) fault(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
	fault := e.choose(req)
	if fault == nil {
		next(w, r)
		return
	}
	fault(w, r, req, next)
}

func (e *weather) choose(req registrytest.Request) registrytest.Fault {
	e.mu.Lock()
	defer e.mu.Unlock()
	if until, ok := e.until[req.Path]; ok && time.Now().Before(until) {
		e.early++
	}
	if e.random.IntN(100) >= e.percent {
		return nil
	}
	total := 0
	for _, m := range mishaps {
		total += m.weight
	}
	pick := e.random.IntN(total)
	for _, m := range mishaps {
		if pick -= m.weight; pick >= 0 {
			continue
		}
		if e.told[req.Repository] == nil {
			e.told[req.Repository] = map[string]bool{}
		}
		e.told[req.Repository][m.name] = true
		e.count[m.name]++
		if m.name == "429" {
			// A little less: clocks are not compared to the millisecond.
			e.until[req.Path] = time.Now().Add(retryAfter*time.Second - 50*time.Millisecond)
		}
		return m.do(e.registry, e.random.Int64())
	}
	return nil
}

// explains says whether an error is one of what happened to a repository, or to
// the first contact with its host.
func (e *weather) explains(repository, said string) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(mishaps, func(m mishap) bool {
		return (e.told[repository][m.name] || e.told[""][m.name]) &&
			slices.ContainsFunc(m.errors, func(text string) bool { return strings.Contains(said, text) })
	})
}

// TestWeather copies images from a registry that has mishaps of all kinds at
// random. Each copy is right, or fails with the error of what happened.
func TestWeather(t *testing.T) {
	b := newBench(t)
	r := registrytest.Start(t, registrytest.Options{})
	const perRound, atOnce = 20, 8
	var images []image
	for n := range perRound {
		images = append(images, b.push(t, r, fmt.Sprint("a", n), registrytest.ImageSpec{Layers: []int64{300_000, 40_000}, Seed: uint64(n)}))
	}
	calm := 0
	for _, percent := range []int{0, 5, 10, 20} {
		t.Run(fmt.Sprintf("%d percent", percent), func(t *testing.T) {
			e := newWeather(r, percent)
			rounds := times(8, 1)
			if percent == 0 {
				rounds = 1
			}
			right, failed, requests := 0, map[string]int{}, 0
			for range rounds {
				r.Heal()
				r.Forget()
				r.Break(e.fault)
				m := b.mount(t, b.home(t, "cache"))
				var mu sync.Mutex
				work := make(chan int)
				var copying sync.WaitGroup
				for range atOnce {
					copying.Go(func() {
						for n := range work {
							i := images[n]
							o := b.run("cat", m.in(i.dir, "image.tar"))
							mu.Lock()
							switch {
							case i.isIt(o):
								right++
							case o.hung:
								t.Errorf("a copy hangs: %v", o)
							case o.err == nil:
								t.Errorf("a wrong copy: %v", o)
							case !e.explains(fmt.Sprint("a", n), o.said):
								t.Errorf("an error that nothing explains: %v", o)
								failed["unexplained"]++
							default:
								failed[o.said[strings.LastIndex(o.said, ": ")+2:]]++
							}
							mu.Unlock()
						}
					})
				}
				for n := range images {
					work <- n
				}
				close(work)
				copying.Wait()
				requests += r.Count()
				r.Heal()
				// All is well when the weather is.
				for _, i := range images {
					eventually(t, "a good copy", func() bool { return i.isIt(b.run("cat", m.in(i.dir, "image.tar"))) })
				}
				m.stop(t)
			}
			t.Logf("%d copies right, failed: %v; %d requests; mishaps %v; %d too early", right, failed, requests, e.count, e.early)
			if percent == 0 {
				calm = requests
				if right != perRound {
					t.Errorf("%d of %d copies are right without a mishap", right, perRound)
				}
			}
			if requests > 3*calm*rounds {
				t.Errorf("%d requests, without mishaps %d", requests, calm*rounds)
			}
			if e.early > 0 {
				t.Errorf("%d requests came before the time that a 429 named", e.early)
			}
		})
	}
}
