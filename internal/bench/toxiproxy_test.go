package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// TestShaper holds the shaper to toxiproxy: one small request and one large one
// take as long through either, within a tenth. What many connections carry
// through each, and what that takes of the processors, is logged.
func TestShaper(t *testing.T) {
	gate.Suite(t, enabledVariable)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, _ := strconv.Atoi(r.URL.Path[1:]) // 0 is nothing
		w.Header().Set("Content-Length", strconv.Itoa(n))
		for piece := make([]byte, 256<<10); n > 0; n -= len(piece) {
			if _, err := w.Write(piece[:min(n, len(piece))]); err != nil {
				return
			}
		}
	}))
	t.Cleanup(server.Close)
	to := server.Listener.Addr().String()
	tox := startToxiproxy(t.Context(), t, to, slow)
	hosts := map[string]string{"none": to, "toxiproxy": tox.host, "shaper": startShaper(t, to, slow).host}
	const second = 25e6 // bytes
	small, large := map[string]time.Duration{}, map[string]time.Duration{}
	for name, host := range hosts {
		small[name], large[name] = time.Hour, time.Hour
		for range 3 { // the best: what is compared is not the machine's other work
			small[name] = min(small[name], fetch(t, host, 1, 1000))
			large[name] = min(large[name], fetch(t, host, 1, second))
		}
		t.Logf("%s: a small request %s, one connection %.1f MB/s", name, small[name].Round(time.Millisecond/10), second/1e6/large[name].Seconds())
	}
	for what, took := range map[string]map[string]time.Duration{"a small request": small, "one connection": large} {
		if ours, theirs := took["shaper"], took["toxiproxy"]; math.Abs(ours.Seconds()/theirs.Seconds()-1) > 0.1 {
			t.Errorf("%s takes %s, and %s through toxiproxy", what, ours, theirs)
		}
	}
	for _, connections := range []int{8, 32} {
		for name, host := range hosts {
			before := used(t) + processorTime(tox.pid)
			took := fetch(t, host, connections, second)
			cpu := used(t) + processorTime(tox.pid) - before
			t.Logf("%s: %d connections, %.0f of %.0f MB/s; %.2f CPU seconds, with client and server",
				name, connections, float64(connections)*second/1e6/took.Seconds(), float64(connections)*second/1e6, cpu.Seconds())
		}
	}
}

// fetch has so many clients ask for size bytes at once, on connections that are
// open, and says how long that takes.
func fetch(t *testing.T, host string, clients, size int) time.Duration {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: clients, ReadBufferSize: 128 << 10}
	defer transport.CloseIdleConnections()
	get := func(size int) {
		resp, err := (&http.Client{Transport: transport}).Get("http://" + host + "/" + strconv.Itoa(size))
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = resp.Body.Close() }()
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != int64(size) {
			t.Errorf("%d bytes, %v", n, err)
		}
	}
	all := func(size int) time.Duration {
		start := time.Now()
		var done sync.WaitGroup
		for range clients {
			done.Go(func() { get(size) })
		}
		done.Wait()
		return time.Since(start)
	}
	all(1)
	return all(size)
}

// used is what this process has used of the processors.
func used(t *testing.T) time.Duration {
	t.Helper()
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		t.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// A toxiproxy is one that runs, with one proxy.
type toxiproxy struct {
	host string
	*daemon
}

// startToxiproxy starts toxiproxy in front of a server, with a shape.
func startToxiproxy(ctx context.Context, t *testing.T, to string, shape shape) *toxiproxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") // it does not say which port it takes
	if err != nil {
		t.Fatal(err)
	}
	api := l.Addr().String()
	_, port, err := net.SplitHostPort(api)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	home := t.TempDir()
	d := startDaemon(ctx, t, command{home: home, args: []string{goTool(ctx, t, toolsModule, "server"), "-host", "127.0.0.1", "-port", port}}, func() bool {
		c, err := net.Dial("tcp", api)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	post := func(path string, body, answer any) {
		b, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.Post("http://"+api+path, "application/json", bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		if err := json.NewDecoder(resp.Body).Decode(answer); err != nil || resp.StatusCode/100 != 2 {
			t.Fatalf("%s: %s, %v", path, resp.Status, err)
		}
	}
	var made struct{ Listen string }
	post("/proxies", map[string]any{"name": "slow", "listen": "127.0.0.1:0", "upstream": to, "enabled": true}, &made)
	for kind, value := range map[string]int64{"latency": shape.latency.Milliseconds(), "bandwidth": shape.rate / 1000} {
		attribute := map[string]string{"latency": "latency", "bandwidth": "rate"}[kind]
		post("/proxies/slow/toxics", map[string]any{
			"type": kind, "stream": "downstream", "attributes": map[string]int64{attribute: value},
		}, new(json.RawMessage))
	}
	return &toxiproxy{host: made.Listen, daemon: d}
}
