package distributiontest

import (
	"bytes"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A Request is a line of the registry's access log.
type Request struct {
	Method string
	Path   string // with its query
	Status int
	Sent   int64 // bytes of the body
}

// IsManifest says whether a request was for a manifest.
func (r Request) IsManifest() bool { return strings.Contains(r.Path, "/manifests/") }

// IsBlob says whether a request was for a blob.
func (r Request) IsBlob() bool { return strings.Contains(r.Path, "/blobs/") }

// accessLog takes what the registry writes to its standard output: a line a
// request, when it has been answered.
type accessLog struct {
	mu   sync.Mutex
	text bytes.Buffer // guarded by mu
}

func (l *accessLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// linePattern is the combined log format.
var linePattern = regexp.MustCompile(`"([A-Z]+) (\S+) HTTP/[0-9.]+" ([0-9]+) ([0-9]+|-) `)

func (l *accessLog) requests() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	var requests []Request
	for line := range strings.Lines(l.text.String()) {
		m := linePattern.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		status, _ := strconv.Atoi(m[3])           // digits, by the pattern
		sent, _ := strconv.ParseInt(m[4], 10, 64) // "-" is 0
		requests = append(requests, Request{m[1], m[2], status, sent})
	}
	return requests
}

// A Mark is a place in the access log.
type Mark int

// settle is how long the log may lag behind an answer that the client has.
const settle = 10 * time.Second

// Mark returns the end of the log, after all that was asked before: it asks for
// something that nobody else asks for and waits until that is logged.
func (s *Server) Mark(t testing.TB) Mark {
	t.Helper()
	return Mark(s.flush(t))
}

// Since returns what was asked after a mark, besides what this type asks.
func (s *Server) Since(t testing.TB, m Mark) []Request {
	t.Helper()
	end := s.flush(t)
	return slices.DeleteFunc(s.log.requests()[m:end], func(r Request) bool { return strings.HasPrefix(r.Path, flushPath) })
}

const flushPath = "/v2/?flush="

// flush returns the length of the log once it holds a request that is made here.
func (s *Server) flush(t testing.TB) int {
	t.Helper()
	s.flushes++
	path := flushPath + strconv.Itoa(s.flushes)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close() // its status does not matter
	for deadline := time.Now().Add(settle); time.Now().Before(deadline); {
		requests := s.log.requests()
		for i, r := range requests {
			if r.Path == path {
				return i + 1
			}
		}
		runtime.Gosched()
	}
	t.Fatalf("the registry's log does not show a request after %s", settle)
	return 0
}
