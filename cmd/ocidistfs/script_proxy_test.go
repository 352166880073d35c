package main

import (
	"flag"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

var proxyCommands = map[string]scriptCommand{
	"proxy": startProxy,
	"same":  compareCounts,
}

// A proxy is an HTTP proxy that logs what goes through it. Hosts that do not
// exist are reached through it all the same, where it is told what they are.
type proxy struct {
	to string // where everything goes; "" is where it should

	mu  sync.Mutex
	log []string // guarded by mu
}

// startProxy is: proxy [-to VARIABLE] VARIABLE; the variable gets the URL.
func startProxy(ts *testscript.TestScript, _ bool, args []string) {
	flags := flag.NewFlagSet("proxy", flag.ContinueOnError)
	to := flags.String("to", "", "")
	ts.Check(flags.Parse(args))
	b, name := benchOf(ts), flags.Arg(0)
	p := &proxy{}
	if *to != "" {
		p.to = b.registries[*to].Host()
	}
	server := httptest.NewServer(p)
	b.tb.Cleanup(server.Close)
	b.logs[name] = p.lines
	ts.Setenv(name, server.URL)
}

// compareCounts is: same PROXY REGISTRY; what reached the registry went through
// the proxy. A CONNECT is an attempt at TLS, which a registry without does not
// see.
func compareCounts(ts *testscript.TestScript, _ bool, args []string) {
	through, reached := logged(ts, args)(), logged(ts, args[1:])()
	through = slices.DeleteFunc(through, func(line string) bool { return strings.HasPrefix(line, http.MethodConnect) })
	if len(through) != len(reached) || len(reached) == 0 {
		ts.Fatalf("%s: %q\n%s: %q", args[0], through, args[1], reached)
	}
}

func (p *proxy) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.log)
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.log = append(p.log, r.Method+" "+r.RequestURI)
	p.mu.Unlock()
	host := r.Host
	if p.to != "" {
		host = p.to
	}
	if r.Method == http.MethodConnect {
		tunnel(w, host)
		return
	}
	(&httputil.ReverseProxy{Rewrite: func(out *httputil.ProxyRequest) {
		out.Out.URL.Host = host
	}}).ServeHTTP(w, r)
}

// tunnel connects the client with a host, for TLS.
func tunnel(w http.ResponseWriter, host string) {
	remote, err := net.Dial("tcp", host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = remote.Close() // nothing was sent
		return
	}
	// Either side's end is the end of both.
	end := func() { _, _ = client.Close(), remote.Close() }
	_, _ = io.WriteString(client, "HTTP/1.1 200 OK\r\n\r\n") // the client left
	go func() { defer end(); _, _ = io.Copy(remote, client) }()
	go func() { defer end(); _, _ = io.Copy(client, remote) }()
}
