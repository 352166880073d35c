package registrytest

import (
	"context"
	"net"
	"os"
	"sync"
	"syscall"
)

// A Pipe is a network with one server on it, inside the process: [Options] has it
// as the listener, clients dial it. Nothing of it is the kernel's, so a bubble of
// testing/synctest can move the time in which they speak. It is safe for concurrent
// use.
type Pipe struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu     sync.Mutex
	absent error // guarded by mu; why nobody answers
	dials  int   // guarded by mu
}

// NewPipe makes a network for one server.
func NewPipe() *Pipe { return &Pipe{conns: make(chan net.Conn), closed: make(chan struct{})} }

// Dial connects to the server, whatever the address is.
func (p *Pipe) Dial(ctx context.Context, network, _ string) (net.Conn, error) {
	p.mu.Lock()
	p.dials++
	absent := p.absent
	p.mu.Unlock()
	if absent != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: p.Addr(), Err: absent}
	}
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Refuse makes the network say that nobody listens, until [Pipe.Listen].
func (p *Pipe) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.absent = os.NewSyscallError("connect", syscall.ECONNREFUSED)
}

// Listen ends what Refuse began.
func (p *Pipe) Listen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.absent = nil
}

// Dials is how often somebody dialed.
func (p *Pipe) Dials() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.dials
}

// Accept is the listener's part.
func (p *Pipe) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// Close is the listener's part.
func (p *Pipe) Close() error {
	p.once.Do(func() { close(p.closed) })
	return nil
}

// Addr is an address on loopback, where plain HTTP may be spoken.
func (p *Pipe) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5000} }
