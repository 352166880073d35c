package readat

import (
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// asked records what it is told to prefetch, which comes when the test says so.
type asked struct {
	Reader
	ranges  [][2]int64 // offset, length
	ready   []func()   // of those under way
	longest int64      // what one request brings; 0 is without a bound
	have    int64      // bytes at the beginning that are there
}

func (a *asked) Prefetch(off, n int64, ready func()) (int64, bool) {
	end := off + n
	off, to := max(off, a.have), min(end, a.Size())
	if off >= to {
		return end, false
	}
	if a.longest > 0 {
		to = min(to, off+a.longest)
	}
	a.ranges = append(a.ranges, [2]int64{off, to - off})
	a.ready = append(a.ready, ready)
	return to, true
}

// come lets n of the ranges under way come, the first first, each a while after
// the other; the tests of this run in bubbles, where a while takes no time.
func (a *asked) come(n int) {
	for range n {
		time.Sleep(100 * time.Millisecond)
		ready := a.ready[0]
		a.ready = a.ready[1:]
		ready()
	}
}

// first is where the first range under way ends.
func first(a *asked) int64 {
	r := a.ranges[len(a.ranges)-len(a.ready)]
	return r[0] + r[1]
}

func (a *asked) end() int64 {
	end := int64(0)
	for _, r := range a.ranges {
		end = max(end, r[0]+r[1])
	}
	return end
}

func TestConcatForwardsPrefetch(t *testing.T) {
	first, second := &asked{Reader: Zeros(100)}, &asked{Reader: Zeros(100)}
	c := Concat(Bytes(make([]byte, 10)), first, Bytes(make([]byte, 10)), second).(Prefetcher)
	for i, step := range []struct {
		off, n, end   int64
		started       bool
		first, second [2]int64 // the last range asked of each
	}{
		{50, 1000, 110, true, [2]int64{40, 60}, [2]int64{}},
		{110, 30, 140, true, [2]int64{40, 60}, [2]int64{0, 20}},
		{110, 10, 120, false, [2]int64{40, 60}, [2]int64{0, 20}},
		{-5, 5, 0, false, [2]int64{40, 60}, [2]int64{0, 20}},
		{220, 5, 225, false, [2]int64{40, 60}, [2]int64{0, 20}},
		{-5, 16, 11, true, [2]int64{0, 1}, [2]int64{0, 20}},
	} {
		end, started := c.Prefetch(step.off, step.n, func() {})
		if end != step.end || started != step.started {
			t.Errorf("step %d: until %d, started %t; want %d, %t", i, end, started, step.end, step.started)
		}
		for _, part := range []struct {
			of   *asked
			want [2]int64
		}{{first, step.first}, {second, step.second}} {
			if part.want != ([2]int64{}) && part.of.ranges[len(part.of.ranges)-1] != part.want {
				t.Errorf("step %d: %v, want %v", i, part.of.ranges, part.want)
			}
		}
	}
	first.have = 100
	if end, started := c.Prefetch(0, 1000, func() {}); end != 220 || !started {
		t.Errorf("past a part that is there: until %d, started %t", end, started)
	}
}

const aheadSize = 200 << 20

// openAhead returns a reader of an open file, and what is asked of it.
func openAhead(budget *Budget) (*asked, *Ahead) {
	a := &asked{Reader: Zeros(aheadSize)}
	return a, ReadAhead(a, budget)
}

func readAt(t *testing.T, r Reader, off, n int64) {
	t.Helper()
	if _, err := r.ReadAt(t.Context(), make([]byte, n), off); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestRandomReaders reads as programs do that are not sequential.
func TestRandomReaders(t *testing.T) {
	budget := NewBudget(64<<20, 8)
	t.Run("records around headers", func(t *testing.T) {
		a, r := openAhead(budget)
		for off := int64(0); off < aheadSize; off += 10 << 20 {
			for i := range int64(3) {
				readAt(t, r, off+i*10240, 10240)
			}
		}
		if a.ranges != nil {
			t.Errorf("fetched ahead: %v", a.ranges)
		}
	})
	t.Run("records around headers of small members", func(t *testing.T) {
		a, r := openAhead(budget)
		for off := int64(0); off < aheadSize; off += 300 << 10 {
			readAt(t, r, off, 10240)
			readAt(t, r, off+10240, 10240)
		}
		if a.ranges != nil {
			t.Errorf("fetched ahead: %v", a.ranges)
		}
	})
	t.Run("the same again", func(t *testing.T) {
		a, r := openAhead(budget)
		for range 1000 {
			readAt(t, r, 0, 4096)
		}
		if a.ranges != nil {
			t.Errorf("fetched ahead: %v", a.ranges)
		}
	})
	t.Run("of what fetches nothing", func(t *testing.T) {
		r := ReadAhead(Zeros(aheadSize), budget)
		for off := int64(0); off < 4<<20; off += 128 << 10 {
			readAt(t, r, off, 128<<10)
		}
		if budget.readers != 0 {
			t.Errorf("%d readers fetch ahead", budget.readers)
		}
	})
}

// TestSequentialReader reads all in order, in pieces that come in no order, as
// the kernel sends the READs of one read(2).
func TestSequentialReader(t *testing.T) {
	const bytes, connections = 16 << 20, 4
	for name, order := range map[string][]int64{"in order": {0, 1, 2, 3}, "in parallel": {1, 0, 3, 2}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, r := openAhead(NewBudget(bytes, connections))
				for off := int64(0); off < aheadSize; off += 512 << 10 {
					for _, i := range order {
						readAt(t, r, off+i*128<<10, 128<<10)
					}
					read := off + 512<<10
					if ahead := a.end() - read; ahead > bytes || ahead > windowGrowth*read {
						t.Fatalf("%d bytes ahead after %d, the budget is %d", ahead, read, bytes)
					}
					if len(a.ready) > connections {
						t.Fatalf("%d ranges at once", len(a.ready))
					}
					// What the reader is past has come.
					for len(a.ready) > 0 && first(a) <= read {
						a.come(1)
					}
					if read > 32<<20 && len(a.ready) < connections && a.end() < aheadSize {
						t.Fatalf("after %d bytes %d of %d connections are in use", read, len(a.ready), connections)
					}
				}
				a.come(len(a.ready))
				at := a.ranges[0][0]
				for _, rg := range a.ranges {
					if rg[0] != at || rg[1] <= 0 || rg[1] > maxStep {
						t.Fatalf("range %v after %d: a gap, an overlap or too long", rg, at)
					}
					at += rg[1]
				}
				if at != aheadSize {
					t.Errorf("fetched up to %d of %d", at, int64(aheadSize))
				}
				if n := len(a.ranges); n > 30+aheadSize/(bytes/8) {
					t.Errorf("%d ranges", n)
				}
			})
		})
	}
}

// TestSlowReader stops reading: what is fetched for him ends with the window.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bytes = 8 << 20
		a, r := openAhead(NewBudget(bytes, 8))
		r.Whole()
		readAt(t, r, 0, 128<<10)
		for len(a.ready) > 0 {
			a.come(1)
		}
		if end := a.end(); end > bytes+128<<10 || end < bytes/2 {
			t.Errorf("%d bytes are fetched, the budget is %d", end, bytes)
		}
		readAt(t, r, 128<<10, 4<<20)
		if len(a.ready) == 0 {
			t.Error("nothing is fetched for one who goes on")
		}
	})
}

// TestSmallParts has parts of which each is one request: several are fetched at
// once, over the connections there are.
func TestSmallParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, r := openAhead(NewBudget(1<<20, 3))
		a.longest = 10_000
		r.Whole()
		readAt(t, r, 0, 1000)
		a.come(1)
		if len(a.ready) != 3 || len(a.ranges) != 4 {
			t.Errorf("%d parts at once and %d in all after one has come, want 3 and 4", len(a.ready), len(a.ranges))
		}
	})
}

// TestConnections has ranges come at several rates: as many are fetched at once
// as it takes, and no more.
func TestConnections(t *testing.T) {
	for name, c := range map[string]struct {
		takes time.Duration // each range
		want  int
	}{
		"fast":    {time.Millisecond, minConnections},
		"slow":    {time.Second, 8},
		"between": {3 * time.Millisecond, 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a, r := openAhead(NewBudget(64<<20, 8))
				a.longest = firstStep
				r.Whole()
				readAt(t, r, 0, 1000)
				if len(a.ready) != minConnections || a.end() > minConnections*firstStep {
					t.Errorf("at first %d ranges up to %d", len(a.ready), a.end())
				}
				time.Sleep(c.takes)
				first := a.ready[0]
				a.ready = a.ready[1:]
				first()
				if len(a.ready) != c.want {
					t.Errorf("then %d ranges at once, want %d", len(a.ready), c.want)
				}
			})
		})
	}
}

// TestSeek closes the window, and the next run opens another.
func TestSeek(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := NewBudget(8<<20, 4)
		a, r := openAhead(budget)
		for off := int64(0); off < 8<<20; off += 1 << 20 {
			readAt(t, r, off, 1<<20)
		}
		before := len(a.ranges)
		readAt(t, r, 100<<20, 128<<10)
		a.come(len(a.ready))
		if len(a.ranges) != before {
			t.Errorf("a seek fetched %v", a.ranges[before:])
		}
		if budget.readers != 0 {
			t.Errorf("%d readers fetch ahead", budget.readers)
		}
		for off := int64(100<<20 + 128<<10); off < 102<<20; off += 128 << 10 {
			readAt(t, r, off, 128<<10)
		}
		if last := a.ranges[len(a.ranges)-1]; last[0] < 100<<20 {
			t.Errorf("after the seek %v was fetched", last)
		}
	})
}

// TestBudgetIsShared has readers come and go.
func TestBudgetIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const bytes = 32 << 20
		budget := NewBudget(bytes, 8)
		var open []*Ahead
		var fetched []*asked
		for range 4 {
			a, r := openAhead(budget)
			r.Whole()
			readAt(t, r, 0, 1000)
			open, fetched = append(open, r), append(fetched, a)
		}
		last := fetched[3]
		for len(last.ready) > 0 {
			last.come(1)
		}
		if end := last.end(); end > bytes/4+1000 {
			t.Errorf("the fourth reader has %d of %d bytes", end, bytes)
		}
		for _, r := range open[:3] {
			r.Stop()
			r.Stop() // the second is nothing
		}
		readAt(t, open[3], 1000, 1000)
		for len(last.ready) > 0 {
			last.come(1)
		}
		if end := last.end(); end < bytes/2 {
			t.Errorf("alone, it has %d of %d bytes", end, bytes)
		}
		before := slices.Clone(fetched[0].ranges)
		fetched[0].come(len(fetched[0].ready))
		readAt(t, open[0], 1000, 1000)
		if len(fetched[0].ranges) != len(before) {
			t.Error("one that was stopped fetches ahead")
		}
	})
}

// TestAheadAtRandom reads, seeks and lets ranges come in any order: no more is
// under way than may be, and none of it is too far ahead.
func TestAheadAtRandom(t *testing.T) {
	for seed := range uint64(50) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			bytes, connections := int64(1+random.IntN(32))<<20, 1+random.IntN(8)
			budget := NewBudget(bytes, connections)
			a, r := openAhead(budget)
			at := int64(0)
			for range 200 {
				switch n := random.Int64N(512 << 10); random.IntN(10) {
				case 0:
					at = random.Int64N(aheadSize)
				case 1, 2, 3:
					if i := len(a.ready); i > 0 {
						i = random.IntN(i)
						ready := a.ready[i]
						a.ready = slices.Delete(a.ready, i, i+1)
						time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond)
						ready()
					}
				default:
					before := len(a.ranges)
					readAt(t, r, at, n)
					at = min(at+n, aheadSize)
					for _, asked := range a.ranges[before:] {
						if asked[0]+asked[1] > at+bytes || asked[1] > maxStep {
							t.Errorf("seed %d: at %d %v was asked for, the budget is %d", seed, at, asked, bytes)
						}
					}
				}
				if len(a.ready) > connections {
					t.Errorf("seed %d: %d ranges at once, want at most %d", seed, len(a.ready), connections)
				}
			}
			r.Stop()
			before := len(a.ranges)
			a.comeAll()
			readAt(t, r, at, 1<<20)
			if len(a.ranges) != before || budget.readers != 0 {
				t.Errorf("seed %d: afterwards %d ranges more, and %d readers", seed, len(a.ranges)-before, budget.readers)
			}
		})
	}
}

// comeAll lets all come that is under way.
func (a *asked) comeAll() {
	for len(a.ready) > 0 {
		a.come(1)
	}
}
