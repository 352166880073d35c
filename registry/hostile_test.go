package registry

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// raw answers with what no server of net/http would send.
func raw(answer string) registrytest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		_, _ = io.WriteString(conn, answer) // the client may have left
	}
}

// encoded answers with a body and what it says of its coding.
func encoded(coding string, body []byte) registrytest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Encoding", coding)
		w.Header().Set("Content-Type", imageType)
		_, _ = w.Write(body)
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Some registries, and what stands in front of them, compress though nobody asked.
// The digest is of what was compressed.
func TestCompressed(t *testing.T) {
	manifest, tags := []byte(`{"schemaVersion":2}`), []byte(`{"name":"a","tags":["x"]}`)
	d := registrytest.DigestOf(manifest)
	whole := zipped(t, manifest)
	for name, c := range map[string]struct {
		fault registrytest.Fault
		err   error
	}{
		"gzip":     {encoded("gzip", whole), nil},
		"identity": {encoded("identity", manifest), nil},
		"x-gzip":   {encoded("X-GZIP", whole), nil},
		"not":      {encoded("gzip", manifest), ErrProtocol},
		"other":    {encoded("br", manifest), ErrProtocol},
		"cut":      {encoded("gzip", whole[:len(whole)-5]), io.ErrUnexpectedEOF},
		"bomb":     {encoded("gzip", zipped(t, make([]byte, 20<<20))), ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.Break(registrytest.Only(registrytest.Manifest, c.fault))
			r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
			for _, ref := range []string{"x", d.String()} {
				m, err := r.Manifest(t.Context(), ref)
				if !errors.Is(err, c.err) || err == nil && (m.Descriptor.Digest != d || !bytes.Equal(m.Bytes, manifest)) {
					t.Errorf("%s: %v", ref, err)
				}
				if got, err := r.Resolve(t.Context(), ref); !errors.Is(err, c.err) || err == nil && (got.Digest != d || got.Size != int64(len(manifest))) {
					t.Errorf("resolve %s: %v, %v", ref, got, err)
				}
			}
		})
	}
	s := registrytest.Start(t, registrytest.Options{})
	s.Break(registrytest.Only(registrytest.Tags, encoded("gzip", zipped(t, tags))))
	if got, err := tagsOf(t, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")); err != nil || fmt.Sprint(got) != "[x]" {
		t.Errorf("tags %v, %v", got, err)
	}
	// A blob is what is stored, whatever is said of it.
	content := someBytes(100)
	blob := s.PutBlob("a", content)
	s.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
		w.Header().Set("Content-Encoding", "gzip")
		next(w, r)
	}))
	if got, _, err := get(t, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a"), blob, 0, 100); err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes of a blob, %v", len(got), err)
	}
}

// What is no HTTP ends soon, with an error, after a bounded number of bytes.
func TestNoHTTP(t *testing.T) {
	flood := func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		for err == nil {
			_, err = io.WriteString(conn, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
		}
	}
	endless := func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
		for err == nil {
			_, err = io.WriteString(conn, "X: "+strings.Repeat("x", 1000)+"\r\n")
		}
	}
	for name, fault := range map[string]registrytest.Fault{
		"negative length":      raw("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"),
		"two lengths":          raw("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello"),
		"no number":            raw("HTTP/1.1 200 OK\r\nContent-Length: 1e9\r\n\r\nhello"),
		"a length beyond all":  raw("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nhello"),
		"shorter than it says": raw("HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"),
		"no status":            raw("hello\r\n\r\n"),
		"status 99":            raw("HTTP/1.1 99 No\r\n\r\n"),
		"nothing":              raw(""),
		"half a header":        raw("HTTP/1.1 200 OK\r\nContent-Le"),
		"a chunk of no size":   raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n"),
		"a chunk that is cut":  raw("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nhello"),
		"a flood of 1xx":       flood,
		"an endless header":    endless,
		"switching protocols":  raw("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"),
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			d := s.PutBlob("a", someBytes(100))
			r := repositoryOf(t, clientOf(t, Options{ReadTimeout: 5 * time.Second}), s.Host()+"/a")
			for _, kind := range []registrytest.Kind{registrytest.Manifest, registrytest.Tags, registrytest.Blob} {
				s.Break(registrytest.Only(kind, fault))
			}
			begun := time.Now()
			if _, err := r.Manifest(t.Context(), "x"); err == nil {
				t.Error("a manifest came of it")
			}
			if tags, err := tagsOf(t, r); err == nil || len(tags) > 0 {
				t.Errorf("tags came of it: %v, %v", tags, err)
			}
			if b, _, err := get(t, r, d, 0, 100); err == nil {
				t.Errorf("a blob of %d bytes came of it", len(b))
			}
			if took := time.Since(begun); took > 10*time.Second {
				t.Errorf("it took %s", took)
			}
			if n := s.Count(); n > 8 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A list of tags that goes on for ever, each page at another address, is not read
// for ever.
func TestEndlessPages(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	n := 0
	s.Break(registrytest.Only(registrytest.Tags, func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		n++
		w.Header().Set("Link", fmt.Sprintf(`</v2/a/tags/list?last=%d>; rel="next"`, n))
		_, _ = fmt.Fprintf(w, `{"name":"a","tags":["x%d"]}`, n)
	}))
	tags, err := tagsOf(t, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a"))
	if !errors.Is(err, ErrProtocol) || len(tags) != maxPages || n != maxPages {
		t.Errorf("%d tags of %d pages, %v", len(tags), n, err)
	}
}

// A store of blobs that refuses what the registry signed is not asked at that
// address again; the registry is, once, for another.
func TestExpiredAddress(t *testing.T) {
	for name, c := range map[string]struct{ good, requests, status int }{
		"the first": {2, 2, 0}, "always": {0, 2, 403}, "never": {1, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			content := someBytes(1000)
			cdn := registrytest.Start(t, registrytest.Options{})
			s := registrytest.Start(t, registrytest.Options{})
			d := s.PutBlob("a", content)
			signed := 0
			s.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
				signed++
				http.Redirect(w, r, fmt.Sprintf("%s/bucket?signature=%d", cdn.URL(), signed), http.StatusTemporaryRedirect)
			}))
			cdn.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
				if n := r.URL.Query().Get("signature"); c.status != 0 || n != fmt.Sprint(c.good) {
					registrytest.Refuse(403, "DENIED", "request has expired")(w, r, req, next)
					return
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
			})
			b, _, err := get(t, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a"), d, 500, 10)
			if c.status != 0 {
				if statusOf(err) != c.status {
					t.Errorf("%v", err)
				}
			} else if err != nil || !bytes.Equal(b, content[500:510]) {
				t.Errorf("%d bytes, %v", len(b), err)
			}
			if asked, sent := s.Count(registrytest.Blob), cdn.Count(); asked != c.requests || sent != c.requests {
				t.Errorf("the registry was asked %d times, the store %d times", asked, sent)
			}
		})
	}
}
