package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"math"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// get reads a range to its end.
func get(t testing.TB, r *Repository, d Digest, off, n int64) (b []byte, start int64, err error) {
	t.Helper()
	body, start, err := r.BlobRange(t.Context(), d, off, n)
	if err != nil {
		return nil, 0, err
	}
	b, err = io.ReadAll(body)
	if e := body.Close(); e != nil {
		t.Errorf("close: %v", e)
	}
	return b, start, err
}

func someBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // never fails
	return b
}

func TestBlobRange(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	content := someBytes(10_000)
	d := s.PutBlob("a/b", content)
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a/b")
	for _, c := range []struct{ off, n int64 }{{0, 1}, {0, 10_000}, {1, 9_999}, {9_999, 1}, {5_000, 100}, {9_000, 5_000}, {0, math.MaxInt64}} {
		b, start, err := get(t, r, d, c.off, c.n)
		want := content[c.off : min(c.n, 10_000-c.off)+c.off]
		if err != nil || start != c.off || !bytes.Equal(b, want) {
			t.Errorf("%d bytes at %d: %d bytes at %d, %v", c.n, c.off, len(b), start, err)
		}
	}
	if n := s.Count(registrytest.Ping); n != 1 {
		t.Errorf("%d pings", n)
	}
	for _, c := range []struct{ off, n int64 }{{-1, 5}, {0, 0}, {0, -1}, {math.MaxInt64, math.MaxInt64}} {
		s.Forget()
		if _, _, err := get(t, r, d, c.off, c.n); !errors.Is(err, iofs.ErrInvalid) || s.Count() != 0 {
			t.Errorf("%d bytes at %d: %v, %d requests", c.n, c.off, err, s.Count())
		}
	}
}

// partial answers with a 206 that says what it likes.
func partial(contentRange string, body []byte) registrytest.Fault {
	return registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		if contentRange != "" {
			w.Header().Set("Content-Range", contentRange)
		}
		w.WriteHeader(http.StatusPartialContent)
		_, _ = w.Write(body)
	})
}

func TestBlobRangeAnswers(t *testing.T) {
	content := someBytes(1000)
	d := registrytest.DigestOf(content)
	for name, c := range map[string]struct {
		fault registrytest.Fault
		off   int64 // 100 bytes are asked for
		start int64
		want  []byte
		err   error // of the call or of the body
	}{
		"whole blob":               {registrytest.Rangeless(), 500, 0, content, nil},
		"whole blob from 0":        {registrytest.Rangeless(), 0, 0, content, nil},
		"no Content-Range":         {partial("", content[500:600]), 500, 0, nil, ErrProtocol},
		"Content-Range of nothing": {partial("bytes */1000", content[500:600]), 500, 0, nil, ErrProtocol},
		"other unit":               {partial("lines 500-599/1000", content[500:600]), 500, 0, nil, ErrProtocol},
		"starts before":            {partial("bytes 499-598/1000", content[499:599]), 500, 0, nil, ErrProtocol},
		"starts after":             {partial("bytes 501-600/1000", content[501:601]), 500, 0, nil, ErrProtocol},
		"ends before it starts":    {partial("bytes 500-499/1000", content[500:600]), 500, 0, nil, ErrProtocol},
		"ends beyond its size":     {partial("bytes 500-599/550", content[500:600]), 500, 0, nil, ErrProtocol},
		"unknown size":             {partial("bytes 500-599/*", content[500:600]), 500, 500, content[500:600], nil},
		"capital unit":             {partial("Bytes 500-599/1000", content[500:600]), 500, 500, content[500:600], nil},
		"less than asked for":      {partial("bytes 500-549/1000", content[500:550]), 500, 500, content[500:550], nil},
		"more than asked for":      {partial("bytes 500-899/1000", content[500:900]), 500, 500, content[500:600], nil},
		"more than it says":        {partial("bytes 500-549/1000", content[500:600]), 500, 500, content[500:550], nil},
		"less than it says":        {partial("bytes 500-599/1000", content[500:550]), 500, 500, content[500:550], io.ErrUnexpectedEOF},
		"dropped":                  {registrytest.CutAfter(30), 500, 500, content[500:530], io.ErrUnexpectedEOF},
		"whole blob, dropped":      {all(registrytest.CutAfter(30), registrytest.Rangeless()), 500, 0, content[:30], io.ErrUnexpectedEOF},
		"beyond the end":           {nil, 1000, 0, nil, ErrMismatch},
		"gone":                     {registrytest.Refuse(404, "BLOB_UNKNOWN", ""), 0, 0, nil, iofs.ErrNotExist},
		"forbidden":                {registrytest.Refuse(403, "DENIED", ""), 0, 0, nil, iofs.ErrPermission},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.PutBlobAs("a", d, bytes.NewReader(content), 1000)
			if c.fault != nil {
				s.Break(registrytest.Only(registrytest.Blob, c.fault))
			}
			r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
			b, start, err := get(t, r, d, c.off, 100)
			if !bytes.Equal(b, c.want) || start != c.start || !errors.Is(err, c.err) || (err != nil) != (c.err != nil) {
				t.Errorf("%d bytes at %d, %v", len(b), start, err)
			}
		})
	}
}

// all is several faults as one; the first sees the answer last.
func all(faults ...registrytest.Fault) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		for _, f := range slices.Backward(faults) {
			inner := next
			next = func(w http.ResponseWriter, r *http.Request) { f(w, r, req, inner) }
		}
		next(w, r)
	}
}

// A CDN that sent a whole blob once may send ranges the next time.
func TestBlobRangeIsAskedForAgain(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	content := someBytes(1000)
	d := s.PutBlob("a", content)
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
	s.Break(registrytest.Rangeless())
	if _, start, err := get(t, r, d, 500, 10); err != nil || start != 0 {
		t.Fatalf("starts at %d, %v", start, err)
	}
	s.Heal()
	if b, start, err := get(t, r, d, 500, 10); err != nil || start != 500 || !bytes.Equal(b, content[500:510]) {
		t.Errorf("%d bytes at %d, %v", len(b), start, err)
	}
}

func TestBlobStalls(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.PutBlob("a", someBytes(1000))
	r := repositoryOf(t, clientOf(t, Options{ReadTimeout: 50 * time.Millisecond}), s.Host()+"/a")
	s.Break(registrytest.Only(registrytest.Blob, s.Trickle(100, time.Hour)))
	b, _, err := get(t, r, d, 0, 1000)
	if len(b) != 100 || !errors.Is(err, ErrStalled) {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	s.Heal()
	s.Break(registrytest.Only(registrytest.Blob, s.Silent()))
	var timeout interface{ Timeout() bool }
	if _, _, err := get(t, r, d, 0, 1000); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("no header: %v", err)
	}
}

func TestBlobByHTTP1(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{TLS: true, HTTP2: true})
	d := s.PutBlob("a", someBytes(10))
	s.PutManifest("a", "x", "application/vnd.oci.image.manifest.v1+json", []byte("{}"))
	r := repositoryOf(t, clientOf(t, Options{RootCAs: authorities(t, s)}), s.Host()+"/a")
	if _, err := r.Manifest(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := get(t, r, d, 0, 10); err != nil {
		t.Fatal(err)
	}
	for _, req := range s.Requests() {
		want := "HTTP/2.0"
		if req.Kind == registrytest.Blob {
			want = "HTTP/1.1"
		}
		if req.Proto != want {
			t.Errorf("%s by %s", req.Kind, req.Proto)
		}
	}
}

func TestURLRange(t *testing.T) {
	c := clientOf(t, Options{})
	for _, address := range []string{
		"", "layer.tar.gz", "http://example.com/layer", "file:///etc/passwd", "ftp://example.com/layer", "https://user:secret@example.com/layer",
		"https://127.0.0.1/layer", "https://LOCALHOST./layer", "https://169.254.169.254/latest", "https://[::1]/layer", "https://[fe80::1%25eth0]/layer",
		"https://[::ffff:127.0.0.1]/layer", "https://0.0.0.0/layer", "https://x.localhost:8443/layer", "://",
		"https://127.0.0.1/layer?signature=secret", "https://example.com:port/layer?signature=secret", "https://exam ple.com/?signature=secret",
	} {
		_, _, err := c.URLRange(t.Context(), address, 0, 10)
		if !errors.Is(err, ErrRedirect) && !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", address, err)
		}
		if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q is shown: %v", address, err)
		}
	}
	if n := c.Stats().Requests; n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Of an address that was asked, an error shows the host and the path.
func TestURLRangeHidesTheQuery(t *testing.T) {
	c := clientOf(t, Options{})
	ctx, leave := context.WithCancel(t.Context())
	leave() // before any request
	_, _, err := c.URLRange(ctx, "https://layers.example.com/a/b?signature=secret", 0, 10)
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "layers.example.com/a/b") {
		t.Errorf("%v", err)
	}
}

func FuzzContentRange(f *testing.F) {
	for _, s := range []string{"bytes 0-0/1", "bytes 5-9/*", "bytes */10", "Bytes 1-2/3", "bytes +1-2/3", "bytes 9223372036854775806-9223372036854775807/*", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		first, last, err := contentRange(s)
		if err != nil {
			return
		}
		if first < 0 || last < first || last+1 < 0 {
			t.Fatalf("%q is from %d to %d", s, first, last)
		}
		again := "bytes " + strconv.FormatInt(first, 10) + "-" + strconv.FormatInt(last, 10) + "/*"
		if a, b, err := contentRange(again); a != first || b != last || err != nil {
			t.Fatalf("%q is %q, which is from %d to %d, %v", s, again, a, b, err)
		}
	})
}

func BenchmarkBlobRange(b *testing.B) {
	s := registrytest.Start(b, registrytest.Options{})
	const size = 8 << 20
	d := s.PutBlob("a", someBytes(size))
	r := repositoryOf(b, clientOf(b, Options{}), s.Host()+"/a")
	for _, n := range []int64{64 << 10, size} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(n)
			for b.Loop() {
				body, _, err := r.BlobRange(b.Context(), d, 0, n)
				if err != nil {
					b.Fatal(err)
				}
				if m, err := io.Copy(io.Discard, body); m != n || err != nil {
					b.Fatal(m, err)
				}
				_ = body.Close()
			}
			s.Forget()
		})
	}
}
