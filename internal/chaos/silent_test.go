package chaos

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// hung is how many readers wait for a registry that says nothing: more than the
// kernel has requests in the background by itself, and than a host has
// connections.
const hung = 40

const (
	// slowdown is how many times as long as on the idle mount something may take.
	slowdown = 5
	// unnoticed is what nobody minds, however short it took on the idle mount.
	unnoticed = 50 * time.Millisecond
)

// TestSilentRegistry reads, lists and asks df on a mount of which 40 readers hang,
// and after they were killed.
func TestSilentRegistry(t *testing.T) {
	b := newBench(t)
	good := registrytest.Start(t, registrytest.Options{})
	silent := registrytest.Start(t, registrytest.Options{})
	warm := b.push(t, good, "warm", registrytest.ImageSpec{Layers: []int64{1 << 20}})
	for n := range hung {
		spec := registrytest.ImageSpec{Layers: []int64{1 << 20}, Seed: uint64(1 + n)} // none is the good one's
		silent.Push(t, fmt.Sprint("a", n), "1", registrytest.Image(t, spec))
	}
	m := b.mount(t, b.home(t, "cache"))
	cold := 0
	operations := map[string]func() outcome{
		"read":  func() outcome { return b.run("cat", m.in(warm.dir, "image.tar")) },
		"ls":    func() outcome { return b.run("ls", m.in(good.Host(), "warm", "tags")) },
		"df":    func() outcome { return b.run("df", m.root) },
		"ls -l": func() outcome { return b.run("ls", "-l", m.in(warm.dir)) },
		"cold read": func() outcome {
			cold++
			return b.run("cat", m.in(good.Host(), "cold", "tags", fmt.Sprint(cold), "image.tar"))
		},
	}
	const samples = 9
	for n := range 6 * samples { // that is how often it is measured below
		spec := registrytest.ImageSpec{Layers: []int64{100_000}, Seed: uint64(n)}
		good.Push(t, "cold", fmt.Sprint(n+1), registrytest.Image(t, spec))
	}
	measure := func(when string) map[string]time.Duration {
		medians := map[string]time.Duration{}
		for name, operation := range operations {
			var took []time.Duration
			for range samples {
				o := operation()
				if o.err != nil {
					t.Fatalf("%s, %s: %v", name, when, o)
				}
				took = append(took, o.took)
			}
			slices.Sort(took)
			medians[name] = took[len(took)/2]
		}
		t.Logf("%s: %v", when, medians)
		return medians
	}
	measure("cold")
	idle := measure("idle")
	check := func(when string) {
		t.Helper()
		for name, took := range measure(when) {
			if took > max(slowdown*idle[name], unnoticed) {
				t.Errorf("%s: %s takes %s, on the idle mount %s", when, name, took, idle[name])
			}
		}
	}

	for _, kind := range []registrytest.Kind{registrytest.Blob, registrytest.Manifest} {
		silent.Heal()
		silent.Break(registrytest.Only(kind, silent.Silent()))
		silent.Forget()
		var readers []*running
		for n := range hung {
			path := m.in(silent.Host(), fmt.Sprint("a", n), "tags", "1", "image.tar")
			if kind == registrytest.Manifest { // these are not known yet
				path = m.in(silent.Host(), fmt.Sprint("a", n), "tags", "2", "image.tar")
			}
			readers = append(readers, b.launch(t, "cat", path))
		}
		// Of the connections to a host some are left when all readers hang.
		eventually(t, "readers that hang", func() bool { return silent.Count(kind) >= 32 })
		check(fmt.Sprintf("%d readers hang on a %s", hung, kind))
		for _, p := range readers {
			select {
			case <-p.ended:
				t.Fatalf("a reader did not hang: %s", p.cmd.ProcessState)
			default:
			}
			_ = p.cmd.Process.Kill() // it hangs
		}
		for _, p := range readers {
			p.gone(t)
		}
		check("they were killed")
	}
}
