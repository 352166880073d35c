package main

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A screen is a terminal that has a bar in its last line while layers are read, which
// whoever looks into an image waits for. What else is written to it has the bar removed
// first; it comes back when that has ended its line. It is safe for concurrent use.
type screen struct {
	err *os.File
	end func() // of watching

	mu   sync.Mutex
	bar  *progress                          // guarded by mu; nil while there is none
	seen map[registry.Digest]tree.LayerPass // guarded by mu; since the bar is there
	half bool                               // guarded by mu; a line is not over that is not the bar's
}

// drawEach is how often the bar is drawn, and after which time it first is: what is
// done before needs none.
const drawEach = 200 * time.Millisecond

// openScreen returns the streams of a command, and the screen that they lead to: nil
// where standard error is no terminal. Its user closes it.
func openScreen(s streams) (*screen, streams) {
	err, ok := s.err.(*os.File)
	if !ok || !drawable(err) {
		return nil, s
	}
	on := &screen{err: err, seen: map[registry.Digest]tree.LayerPass{}}
	s.err = screenStream{on, err}
	if out, ok := s.out.(*os.File); ok && isTerminal(out) {
		s.out = screenStream{on, out}
	}
	return on, s
}

// watch draws the bar of the layers that are read each time that a tick comes, until the
// screen is closed.
func (s *screen) watch(passes func() []tree.LayerPass, ticks <-chan time.Time) {
	ended := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-ticks:
				s.draw(passes())
			case <-ended:
				return
			}
		}
	})
	s.end = func() { close(ended); watching.Wait() }
}

// close leaves nothing of the bar. It was watched.
func (s *screen) close() {
	s.end()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove()
}

// draw shows how much came of the layers that are read, and of those that were read
// since the bar is there.
func (s *screen) draw(passes []tree.LayerPass) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(passes) == 0 {
		s.remove()
		clear(s.seen)
		return
	}
	for layer, p := range s.seen {
		p.Read = p.Size
		s.seen[layer] = p
	}
	for _, p := range passes {
		s.seen[p.Layer] = p
	}
	if s.half {
		return
	}
	var read, size int64
	for _, p := range s.seen {
		read, size = read+min(p.Read, p.Size), size+p.Size
	}
	if s.bar == nil {
		s.bar = newPassing(s.err, size, "layers")
	}
	s.bar.show(read, size)
}

// remove leaves the line empty that the bar was in. s.mu is held.
func (s *screen) remove() {
	if s.bar != nil {
		s.bar.clear()
		s.bar = nil
	}
}

// A screenStream is standard output or standard error of a command that has a screen.
type screenStream struct {
	*screen
	of *os.File
}

var _ io.Writer = screenStream{}

func (s screenStream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove()
	if len(p) > 0 {
		s.half = p[len(p)-1] != '\n'
	}
	return s.of.Write(p)
}

// take gives the line to a bar that is drawn otherwise, until a line ends.
func (s screenStream) take() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.remove()
	s.half = true
}

// Fd is the terminal's.
func (s screenStream) Fd() uintptr { return s.of.Fd() }
