package manners

import (
	"crypto/tls"
	"net"
	"os"
	"testing"
)

// The addresses that servers are on. Two of loopback's are two hosts to a client.
const (
	here      = "127.0.0.1"
	elsewhere = "127.0.0.2"
)

// A front is what stands before a registry and ends TLS. The zero value is none.
type front struct {
	nginx       bool
	forgetsHost bool   // the registry sees the address that nginx reaches it by
	rangeless   bool   // whole blobs for every range
	links       string // makes links to next pages whole addresses, of this scheme
	linksTo     string // and this host; "" is the right one
	redirects   bool   // blobs are elsewhere; this one is no nginx
}

// An upstream is what is behind a front.
type upstream struct {
	address string
	tokens  string // of the token server; "" is none
	login   bool   // the front asks for the password, since the registry knows none
}

// A reservation is a socket that listens already, for a server that is about to
// start. What connects until then waits.
type reservation struct {
	address, port string
	listener      *net.TCPListener
}

func reserve(t *testing.T) *reservation {
	t.Helper()
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.ParseIP(here)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // or who took it did
	r := &reservation{address: l.Addr().String(), listener: l}
	if _, r.port, err = net.SplitHostPort(r.address); err != nil {
		t.Fatal(err)
	}
	return r
}

// give takes the socket out of this process: a child has it, who starts with it.
func (r *reservation) give(t *testing.T) *os.File {
	t.Helper()
	f, err := r.listener.File()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.listener.Close(); err != nil {
		t.Fatal(err)
	}
	return f
}

// secured is the socket with the authority's certificate.
func (r *reservation) secured(a *authority) net.Listener {
	return tls.NewListener(r.listener, &tls.Config{Certificates: []tls.Certificate{a.serverCertificate}})
}
