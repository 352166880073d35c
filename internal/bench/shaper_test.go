package bench

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// pieceSize is what a shaper forwards at once, at the most: 5 ms at 25 MB/s.
	// Loopback has packets of half of it.
	pieceSize = 128 << 10
	// queueLength is how many pieces it holds for one connection, and queueSize how
	// many bytes: twice what 25 MB/s send in 40 ms, so that the delay does not
	// lower the rate, and little enough for the processor's cache.
	queueLength, queueSize = 1024, 2 << 20
	// catchUp is how much of its lag a connection may make up for: timers are late
	// by less, and who did not read for longer has lost what he could have had.
	catchUp = 10 * time.Millisecond
)

// A shape is what a network does to each connection, on the way from the server
// to the client: toxiproxy's "latency" and "bandwidth". The zero value does
// nothing.
type shape struct {
	latency time.Duration
	rate    int64 // bytes a second; 0 is no limit
}

// A shaper is a TCP proxy that gives every connection a shape. It does what
// toxiproxy does, which TestShaper holds it to, for less of the processors, and
// counts what it carries.
type shaper struct {
	host    string // where it listens
	to      string
	shape   shape
	carried atomic.Int64 // bytes to clients
}

// startShaper starts a shaper in front of a server. It ends with the test.
func startShaper(t testing.TB, to string, shape shape) *shaper {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &shaper{host: l.Addr().String(), to: to, shape: shape}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return // it was closed
			}
			go s.serve(client)
		}
	}()
	return s
}

// serve forwards a connection until either end has closed it.
func (s *shaper) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.Dial("tcp", s.to)
	if err != nil {
		return // to the client, a connection that ended
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.(*net.TCPConn).CloseWrite() // the server ends what it was asked for
	}()
	s.shape.carry(client, server, &s.carried)
}

// A piece is what arrived at a moment.
type piece struct {
	buffer  *[pieceSize]byte
	n       int
	arrived time.Time
}

var buffers = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// carry copies until one of the two ends, and adds to carried. The first byte
// comes the latency late; the last, by the time that the rate needs for all.
func (s shape) carry(to io.Writer, from io.Reader, carried *atomic.Int64) {
	queue := make(chan piece, queueLength)
	over := make(chan struct{})
	defer close(over)
	var queued atomic.Int64
	room := make(chan struct{}, 1) // when there is less in the queue
	go func() {
		defer close(queue)
		for {
			for queued.Load() >= queueSize {
				select {
				case <-room:
				case <-over:
					return
				}
			}
			buffer := buffers.Get().(*[pieceSize]byte)
			n, err := from.Read(buffer[:])
			if n > 0 {
				queued.Add(int64(n))
				select {
				case queue <- piece{buffer, n, time.Now()}:
				case <-over:
					return
				}
			}
			if err != nil {
				return
			}
		}
	}()
	var free time.Time // when all before this piece is through
	for p := range queue {
		at := p.arrived.Add(s.latency)
		if free.After(at) {
			at = free
		}
		if s.rate > 0 {
			at = at.Add(time.Duration(int64(time.Second) * int64(p.n) / s.rate))
		}
		time.Sleep(time.Until(at))
		n, err := to.Write(p.buffer[:p.n])
		carried.Add(int64(n))
		if err != nil {
			return
		}
		buffers.Put(p.buffer)
		queued.Add(-int64(p.n))
		select {
		case room <- struct{}{}:
		default: // it is said already
		}
		free = at
		if late := time.Now().Add(-catchUp); late.After(free) {
			free = late
		}
	}
}
