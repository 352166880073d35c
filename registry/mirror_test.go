package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// startWithTag starts a registry that has the manifest "{}" as the tag "x" of "a".
func startWithTag(t testing.TB) *registrytest.Server {
	t.Helper()
	s := registrytest.Start(t, registrytest.Options{})
	s.PutManifest("a", "x", imageType, []byte("{}"))
	return s
}

func isAbsence(err error) bool { return errors.Is(err, iofs.ErrNotExist) }

// mirroredBy returns options by which a host has the hosts.toml given.
func mirroredBy(t testing.TB, host string, hostsToml ...string) Options {
	t.Helper()
	return Options{HostsDirs: []string{hostsDir(t, map[string]string{host + "/hosts.toml": strings.Join(hostsToml, "\n")})}}
}

// mirror is the table of a mirror, with lines of its own.
func mirror(url string, lines ...string) string {
	return fmt.Sprintf("[host.%q]\n%s\n", url, strings.Join(lines, "\n"))
}

// gone is the address of nobody.
func gone(t testing.TB) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return "http://" + l.Addr().String()
}

// kinds is the log of a server without pings.
func kinds(s *registrytest.Server) string {
	var log []string
	for _, r := range s.Requests() {
		if r.Kind != registrytest.Ping {
			log = append(log, string(r.Kind))
		}
	}
	return strings.Join(log, ", ")
}

// "Mirrors are asked in the order of hosts.toml, and the registry itself last." Each
// is told whose content is asked for.
func TestMirrorsInOrder(t *testing.T) {
	content, manifest := someBytes(1000), []byte("{}")
	var all []*registrytest.Server // the registry, and three mirrors
	for range 4 {
		all = append(all, startWithTag(t))
	}
	origin := all[0]
	// Not in the order of their addresses, whatever these are.
	slices.SortFunc(all[1:], func(a, b *registrytest.Server) int { return strings.Compare(b.URL(), a.URL()) })
	for i := range all {
		t.Run(fmt.Sprintf("%d have nothing", i), func(t *testing.T) {
			order := append(slices.Clone(all[1:]), origin)
			for j, s := range order {
				s.Forget()
				s.Heal()
				if j < i {
					s.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(404, "MANIFEST_UNKNOWN", "")))
					s.Break(registrytest.Only(registrytest.Blob, registrytest.Refuse(404, "BLOB_UNKNOWN", "")))
				}
				s.PutBlob("a", content)
			}
			opts := mirroredBy(t, origin.Host(), mirror(all[1].URL()), mirror(all[2].URL()), mirror(all[3].URL()))
			r := repositoryOf(t, clientOf(t, opts), origin.Host()+"/a")
			m, err := r.Manifest(t.Context(), "x")
			if err != nil || !bytes.Equal(m.Bytes, manifest) {
				t.Fatalf("%v", err)
			}
			if b, _, err := get(t, r, registrytest.DigestOf(content), 0, 1000); err != nil || !bytes.Equal(b, content) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			for j, s := range order {
				want := "manifest, blob"
				if j > i {
					want = ""
				}
				if got := kinds(s); got != want {
					t.Errorf("number %d was asked for %q, want %q", j, got, want)
				}
				for _, req := range s.Requests() {
					ns := "ns=" + strings.ReplaceAll(origin.Host(), ":", "%3A")
					if req.Kind != registrytest.Ping && strings.HasSuffix(req.Path, ns) != (s != origin) {
						t.Errorf("number %d was asked for %s", j, req.Path)
					}
				}
			}
		})
	}
}

// silent answers nothing until the client leaves.
func silent(_ http.ResponseWriter, r *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
	<-r.Context().Done()
}

// "A mirror that fails is left alone for some seconds, and the next one is asked."
// What it only does not have says nothing of it.
func TestMirrorFails(t *testing.T) {
	content := someBytes(100)
	for name, c := range map[string]struct {
		fault registrytest.Fault // nil: nobody is there
		rests bool
	}{
		"gone":              {nil, true},
		"unknown":           {registrytest.Refuse(404, "MANIFEST_UNKNOWN", ""), false},
		"no HEAD":           {registrytest.Refuse(405, "UNSUPPORTED", ""), false},
		"unauthorized":      {registrytest.Refuse(401, "UNAUTHORIZED", ""), true},
		"denied":            {registrytest.Refuse(403, "DENIED", ""), true},
		"too many requests": {registrytest.Refuse(429, "TOOMANYREQUESTS", ""), true},
		"broken":            {registrytest.Refuse(500, "UNKNOWN", ""), true},
		"unavailable":       {registrytest.Refuse(503, "UNAVAILABLE", ""), true},
		"drops":             {registrytest.CutAfter(0), true},
		"other bytes":       {registrytest.FlipAt(1), true},
		"silent":            {silent, true},
	} {
		t.Run(name, func(t *testing.T) {
			first, second, origin := startWithTag(t), startWithTag(t), startWithTag(t)
			url := gone(t)
			if c.fault != nil {
				url = first.URL()
				first.Break(registrytest.Only(registrytest.Manifest, c.fault))
				first.Break(registrytest.Only(registrytest.Blob, c.fault))
			}
			d := second.PutBlob("a", content)
			opts := mirroredBy(t, origin.Host(), mirror(url), mirror(second.URL()))
			if name == "silent" {
				opts.ReadTimeout = time.Second
			}
			r := repositoryOf(t, clientOf(t, opts), origin.Host()+"/a")
			const times = 3
			for range times {
				m, err := r.Manifest(t.Context(), registrytest.DigestOf([]byte("{}")).String())
				if err != nil || string(m.Bytes) != "{}" {
					t.Fatalf("%v", err)
				}
			}
			if n := first.Count(registrytest.Manifest); c.fault != nil && (n == 1) != c.rests {
				t.Errorf("it was asked %d times", n)
			}
			if b, _, err := get(t, r, d, 0, 100); err != nil || !bytes.Equal(b, content) {
				t.Errorf("blob: %v", err)
			}
			if log := asked(origin); second.Count(registrytest.Manifest) != times || log != "" {
				t.Errorf("the second was asked for %s, the registry for %s", asked(second), log)
			}
		})
	}
}

// A mirror that wants to be left alone is left alone, and nobody waits for it: there is
// the registry.
func TestMirrorWantsToBeLeftAlone(t *testing.T) {
	m, origin := startWithTag(t), startWithTag(t)
	m.Break(registrytest.Only(registrytest.Manifest, wants(429, "25")))
	r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL()))), origin.Host()+"/a")
	begun := time.Now()
	for range 3 {
		if _, err := r.Manifest(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		lanes, err := r.lanes(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		lanes[0].rest.end() // it has rested for longer than its failure asks for
	}
	if took := time.Since(begun); took > 10*time.Second || m.Count(registrytest.Manifest) != 1 || origin.Count(registrytest.Manifest) != 3 {
		t.Errorf("it took %s, the mirror was asked for %s, the registry for %s", took, asked(m), asked(origin))
	}
}

// "When all fail, the registry itself decides the error, and the mirrors' reasons are
// told with it."
func TestAllFail(t *testing.T) {
	first, origin := startWithTag(t), registrytest.Start(t, registrytest.Options{})
	first.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(503, "UNAVAILABLE", "the mirror is full")))
	nobody := gone(t)
	r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(nobody), mirror(first.URL()))), origin.Host()+"/a")
	_, err := r.Manifest(t.Context(), "y")
	if !errors.Is(err, iofs.ErrNotExist) || statusOf(err) != http.StatusNotFound {
		t.Errorf("%v, want the registry's 404", err)
	}
	for _, part := range []string{"manifest unknown", nobody + ": ", "connection refused", first.URL() + ": 503", "the mirror is full"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v, want %q in it", err, part)
		}
	}
	// While they rest, nobody says anything of them.
	if _, err := r.Manifest(t.Context(), "y"); err == nil || strings.Contains(err.Error(), "mirror") {
		t.Errorf("%v", err)
	}
	origin.Break(registrytest.Refuse(500, "UNKNOWN", ""))
	if _, err := r.Manifest(t.Context(), "y"); statusOf(err) != 500 || isAbsence(err) {
		t.Errorf("%v, want the registry's 500", err)
	}
}

// "What a mirror says of a tag is believed only where hosts.toml has it resolve."
func TestCapabilities(t *testing.T) {
	for name, c := range map[string]struct {
		capabilities      string
		tag, digest, list string // who is asked: the mirror or the registry
	}{
		"pull":    {capabilities: `"pull"`, tag: "registry", digest: "mirror", list: "registry"},
		"resolve": {capabilities: `"resolve"`, tag: "mirror", digest: "registry", list: "mirror"},
		"both":    {capabilities: `"pull", "resolve"`, tag: "mirror", digest: "mirror", list: "mirror"},
		"push":    {capabilities: `"push"`, tag: "registry", digest: "registry", list: "registry"},
		"default": {capabilities: ``, tag: "mirror", digest: "mirror", list: "mirror"},
	} {
		t.Run(name, func(t *testing.T) {
			m, origin := startWithTag(t), startWithTag(t)
			r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL(), "capabilities = ["+c.capabilities+"]"))), origin.Host()+"/a")
			d := registrytest.DigestOf([]byte("{}")).String()
			for what, ask := range map[string]func() error{
				c.tag + " resolve":   func() error { _, err := r.Resolve(t.Context(), "x"); return err },
				c.tag + " manifest":  func() error { _, err := r.Manifest(t.Context(), "x"); return err },
				c.digest + " digest": func() error { _, err := r.Manifest(t.Context(), d); return err },
				c.list + " list": func() error {
					for _, err := range r.Tags(t.Context()) {
						if err != nil {
							return err
						}
					}
					return nil
				},
			} {
				m.Forget()
				origin.Forget()
				if err := ask(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				of, other := m, origin
				if strings.HasPrefix(what, "registry") {
					of, other = origin, m
				}
				if kinds(of) == "" || kinds(other) != "" {
					t.Errorf("%s: the mirror was asked for %q, the registry for %q", what, kinds(m), kinds(origin))
				}
			}
		})
	}
	t.Run("nobody", func(t *testing.T) {
		origin := startWithTag(t)
		r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), "server = "+fmt.Sprintf("%q", origin.URL()), `capabilities = ["pull"]`)), origin.Host()+"/a")
		if _, err := r.Resolve(t.Context(), "x"); err == nil || isAbsence(err) || !strings.Contains(err.Error(), "capabilities") || origin.Count() != 0 {
			t.Errorf("%v; asked for %s", err, asked(origin))
		}
	})
}

// A list goes on where it began, whoever else there is.
func TestMirrorHasPages(t *testing.T) {
	m := registrytest.Start(t, registrytest.Options{PageSize: 2, Prefix: "/some/where"})
	origin := startWithTag(t)
	for i := range 5 {
		m.PutManifest("a", fmt.Sprint("t", i), imageType, []byte("{}"))
	}
	// The links of a registry behind a path know nothing of it, unless it is told.
	m.Break(registrytest.Only(registrytest.Tags, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
		next(linked{w}, r)
	}))
	r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL()+"/some/where"))), origin.Host()+"/a")
	var tags []string
	for tag, err := range r.Tags(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, tag)
	}
	if got := strings.Join(tags, " "); got != "t0 t1 t2 t3 t4" || kinds(origin) != "" {
		t.Errorf("%s; the registry was asked for %q", got, kinds(origin))
	}
	for _, req := range m.Requests() {
		if req.Kind == registrytest.Tags && !strings.Contains(req.Path, "ns=") {
			t.Errorf("a page was asked for without its registry: %s", req.Path)
		}
	}
}

// linked puts the prefix into the link to the next page.
type linked struct{ http.ResponseWriter }

func (l linked) Write(b []byte) (int, error) {
	if link := l.Header().Get("Link"); link != "" && !strings.Contains(link, "/some/where") {
		l.Header().Set("Link", strings.Replace(link, "</v2/", "</some/where/v2/", 1))
	}
	return l.ResponseWriter.Write(b)
}

// byHost is a keychain of several hosts.
type byHost map[string]authn.AuthConfig

func (k byHost) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if config, ok := k[r.RegistryStr()]; ok {
		return authn.FromConfig(config), nil
	}
	return authn.Anonymous, nil
}

// heard takes down what a server is told of who asks.
func heard(s *registrytest.Server) func() string {
	var mu sync.Mutex
	var all []string
	s.Break(func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
		user, password, _ := r.BasicAuth()
		mu.Lock()
		all = append(all, user+":"+password, r.Header.Get("Authorization"))
		mu.Unlock()
		next(w, r)
	})
	return func() string {
		mu.Lock()
		defer mu.Unlock()
		return strings.Join(all, " ")
	}
}

// "A mirror is never shown the registry's credentials, nor the registry a mirror's."
func TestCredentialsOfMirrors(t *testing.T) {
	for name, bearer := range map[string]bool{"basic": false, "tokens": true} {
		t.Run(name, func(t *testing.T) {
			m := registrytest.Start(t, registrytest.Options{Username: "mirror-user", Password: "mirror-password", Bearer: bearer})
			origin := registrytest.Start(t, registrytest.Options{Username: "origin-user", Password: "origin-password", Bearer: bearer})
			origin.PutManifest("a", "x", imageType, []byte("{}"))
			m.PutManifest("a", "x", imageType, []byte("{}"))
			m.PutManifest("a", "y", imageType, []byte(`{"a":"b"}`))
			opts := mirroredBy(t, origin.Host(), mirror(m.URL()))
			opts.Keychain = byHost{
				m.Host():      {Username: "mirror-user", Password: "mirror-password"},
				origin.Host(): {Username: "origin-user", Password: "origin-password"},
			}
			atMirror, atOrigin := heard(m), heard(origin)
			r := repositoryOf(t, clientOf(t, opts), origin.Host()+"/a")
			if _, err := r.Manifest(t.Context(), "y"); err != nil || kinds(origin) != "" {
				t.Errorf("%v; the registry was asked for %q", err, kinds(origin))
			}
			m.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(404, "MANIFEST_UNKNOWN", "")))
			if _, err := r.Manifest(t.Context(), "x"); err != nil {
				t.Error(err)
			}
			if got := atMirror(); strings.Contains(got, "origin-") || !strings.Contains(got, "mirror-password") {
				t.Errorf("the mirror was told %s", got)
			}
			if got := atOrigin(); strings.Contains(got, "mirror-") || !strings.Contains(got, "origin-password") {
				t.Errorf("the registry was told %s", got)
			}
		})
	}
	t.Run("for the registry alone", func(t *testing.T) {
		m := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p"})
		origin := startWithTag(t)
		opts := mirroredBy(t, origin.Host(), mirror(m.URL()))
		opts.Keychain = BoundCredentials(origin.Host(), "u", "p", Anonymous())
		told := heard(m)
		if _, err := repositoryOf(t, clientOf(t, opts), origin.Host()+"/a").Manifest(t.Context(), "x"); err != nil {
			t.Error(err)
		}
		if strings.Contains(told(), "Basic") || m.Count() == 0 {
			t.Errorf("the mirror was told %s", told())
		}
	})
}

// "A mirror that dies in the middle of a copy does not end it: what is missing comes
// from the next one."
func TestMirrorDiesInABlob(t *testing.T) {
	m, origin := startWithTag(t), startWithTag(t)
	content := someBytes(300_000)
	d := m.PutBlob("a", content)
	origin.PutBlob("a", content)
	m.Break(registrytest.Only(registrytest.Blob, registrytest.CutAfter(100_000)))
	r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL()))), origin.Host()+"/a")
	got, _, err := get(t, r, d, 0, int64(len(content)))
	if !errors.Is(err, io.ErrUnexpectedEOF) || len(got) > 100_000 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	at := int64(len(got))
	rest, start, err := get(t, r, d, at, int64(len(content))-at)
	if err != nil || start != at || !bytes.Equal(append(got, rest...), content) {
		t.Errorf("%d bytes at %d, %v", len(rest), start, err)
	}
	if m.Count(registrytest.Blob) != 1 || origin.Count(registrytest.Blob) != 1 || origin.Sent() != int64(len(rest)) {
		t.Errorf("the mirror was asked for %s, the registry for %s", asked(m), asked(origin))
	}
	// One that stalls is no other thing to who reads, whatever ended it.
	stalls := startWithTag(t)
	stalls.PutBlob("a", content)
	stalls.Break(registrytest.Only(registrytest.Blob, stalls.Trickle(10_000, time.Hour)))
	opts := mirroredBy(t, origin.Host(), mirror(stalls.URL()))
	opts.ReadTimeout = time.Second
	r = repositoryOf(t, clientOf(t, opts), origin.Host()+"/a")
	if got, _, err = get(t, r, d, 0, int64(len(content))); !errors.Is(err, io.ErrUnexpectedEOF) || len(got) != 10_000 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if rest, _, err := get(t, r, d, 10_000, 290_000); err != nil || !bytes.Equal(rest, content[10_000:]) || stalls.Count(registrytest.Blob) != 1 {
		t.Errorf("%d bytes, %v; the mirror was asked for %s", len(rest), err, asked(stalls))
	}
	// Whoever leaves has not met a failure.
	m.Heal()
	m.Break(registrytest.Only(registrytest.Blob, m.Trickle(1000, time.Second)))
	other := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL()))), origin.Host()+"/a")
	ctx, leave := context.WithCancel(t.Context())
	body, _, err := other.BlobRange(ctx, d, 0, 100_000)
	if err != nil {
		t.Fatal(err)
	}
	leave()
	if _, err := io.ReadAll(body); err == nil || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("%v", err)
	}
	_ = body.Close()
	m.Heal()
	m.Forget()
	if _, _, err := get(t, other, d, 0, 10); err != nil || m.Count(registrytest.Blob) != 1 {
		t.Errorf("%v; the mirror was asked for %s", err, asked(m))
	}
}

// A mirror whose bodies do not say how long they are ends them early when it, or what is
// in front of it, is stopped. It is no better than one that broke off.
func TestMirrorEndsEarly(t *testing.T) {
	content := someBytes(100_000)
	for name, ranges := range map[string]bool{"ranges": true, "whole": false} {
		t.Run(name, func(t *testing.T) {
			m, origin := startWithTag(t), startWithTag(t)
			d := m.PutBlob("a", content)
			origin.PutBlob("a", content)
			m.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
				if !ranges {
					r.Header.Del("Range")
				}
				w = hollow{w, ranges}
				next(w, r)
			}))
			r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL()))), origin.Host()+"/a")
			if got, _, err := get(t, r, d, 0, 100_000); len(got) > 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if got, _, err := get(t, r, d, 0, 100_000); err != nil || !bytes.Equal(got, content) {
				t.Errorf("%d bytes, %v; the registry was asked for %s", len(got), err, asked(origin))
			}
			if m.Count(registrytest.Blob) != 1 {
				t.Errorf("the mirror was asked for %s", asked(m))
			}
		})
	}
}

// A mirror without ranges that has only the beginning of a blob is no obstacle, whether it
// says how much it has or not.
func TestMirrorHasTheBeginning(t *testing.T) {
	content := someBytes(100_000)
	for name, chunked := range map[string]bool{"and says so": false, "and does not say so": true} {
		t.Run(name, func(t *testing.T) {
			m, origin := startWithTag(t), startWithTag(t)
			d := origin.PutBlob("a", content)
			m.PutBlob("a", content)
			m.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
				_, _ = w.Write(content[:1000]) // whoever reads it says what is missing
				if chunked {
					_ = http.NewResponseController(w).Flush() // the same
				}
			}))
			r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL()))), origin.Host()+"/a")
			var got []byte
			var err error
			for range 2 {
				if got, _, err = get(t, r, d, 0, 100_000); err == nil {
					break
				}
				if !errors.Is(err, io.ErrUnexpectedEOF) || !chunked {
					t.Errorf("%d bytes, %v", len(got), err)
				}
			}
			if !bytes.Equal(got, content) || m.Count(registrytest.Blob) != 1 {
				t.Errorf("%d bytes, %v; the mirror was asked for %s, the registry for %s", len(got), err, asked(m), asked(origin))
			}
		})
	}
}

// hollow has an answer end before its body, without an error. Where it is chunked it does
// not say how long it would have been.
type hollow struct {
	http.ResponseWriter
	chunked bool
}

func (h hollow) WriteHeader(status int) {
	if h.chunked {
		h.Header().Del("Content-Length")
	}
	h.ResponseWriter.WriteHeader(status)
	_ = http.NewResponseController(h.ResponseWriter).Flush() // so that it is sent in chunks
}

func (h hollow) Write(b []byte) (int, error) { return len(b), nil }

// "A blob that was wrong is asked of the registry itself from then on, not of its
// mirrors."
func TestWrongBlobOfAMirror(t *testing.T) {
	m, origin := startWithTag(t), startWithTag(t)
	content := someBytes(1000)
	d := origin.PutBlob("a", content)
	m.PutBlobAs("a", d, bytes.NewReader(make([]byte, 1000)), 1000)
	other := m.PutBlob("a", content[:10])
	r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL()))), origin.Host()+"/a")
	if b, _, err := get(t, r, d, 0, 1000); err != nil || bytes.Equal(b, content) {
		t.Fatalf("%v, want the mirror's bytes", err)
	}
	r.Dispute(d)
	if b, _, err := get(t, r, d, 0, 1000); err != nil || !bytes.Equal(b, content) {
		t.Errorf("%d bytes, %v, want the registry's", len(b), err)
	}
	if _, _, err := get(t, r, other, 0, 10); err != nil {
		t.Errorf("another blob: %v", err)
	}
	for i := range rememberedWrong + 10 {
		r.Dispute(registrytest.DigestOf(fmt.Append(nil, i)))
	}
	if r.mu.Lock(); len(r.wrong) > rememberedWrong {
		t.Errorf("%d are remembered", len(r.wrong))
	}
	r.mu.Unlock()
}

// Where a mirror has its API, and by which name it has the repository there.
func TestMirrorPaths(t *testing.T) {
	for name, c := range map[string]struct {
		prefix, address, line, repository string
	}{
		"prefix":              {"/mirror", "/mirror", "", "a"},
		"prefix and API":      {"/mirror", "/mirror/v2/", "", "a"},
		"project below API":   {"", "/v2/project", "override_path = true", "project/a"},
		"API is the prefix":   {"/x", "/x/v2", "override_path = true", "a"},
		"nothing but the API": {"", "/v2", "", "a"},
	} {
		for _, bearer := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				m := registrytest.Start(t, registrytest.Options{Prefix: c.prefix, Bearer: bearer})
				if c.prefix != "" {
					// Its token server is where it always is, behind the prefix.
					m.Break(registrytest.Only(registrytest.Ping, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
						next(prefixed{w, m.URL(), c.prefix}, r)
					}))
				}
				if strings.Contains(c.address, "project") && !bearer {
					// It has no page there, and asks for no login.
					m.Break(registrytest.Only(registrytest.Other, registrytest.Refuse(404, "", "")))
				}
				origin := registrytest.Start(t, registrytest.Options{})
				m.PutManifest(c.repository, "x", imageType, []byte("{}"))
				r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL()+c.address, c.line))), origin.Host()+"/a")
				if _, err := r.Manifest(t.Context(), "x"); err != nil {
					t.Fatalf("%v; asked for %s", err, asked(m))
				}
				if requests := m.Requests(); requests[len(requests)-1].Repository != c.repository || origin.Count() != 0 {
					t.Errorf("asked for %+v, the registry for %s", requests, asked(origin))
				}
			})
		}
	}
}

// prefixed puts a prefix into the address of the token server.
type prefixed struct {
	http.ResponseWriter
	url, prefix string
}

func (p prefixed) WriteHeader(status int) {
	challenge := p.Header().Get("WWW-Authenticate")
	if challenge != "" {
		p.Header().Set("WWW-Authenticate", strings.Replace(challenge, p.url, p.url+p.prefix, 1))
	}
	p.ResponseWriter.WriteHeader(status)
}

// Docker's registry is asked where it is told to be, and known by its one name.
func TestEndpoints(t *testing.T) {
	c := clientOf(t, Options{})
	for _, e := range []struct {
		host, address     string
		at, ns, knownAs   string
		tlsOnly, httpOnly bool
	}{
		{"docker.io", "", "index.docker.io/v2", "", "index.docker.io", false, false},
		{"docker.io", "https://docker.io", "index.docker.io/v2", "", "index.docker.io", true, false},
		{"docker.io", "https://registry-1.docker.io", "registry-1.docker.io/v2", "", "index.docker.io", true, false},
		{"docker.io", "https://mirror:5000/x", "mirror:5000/x/v2", "docker.io", "mirror:5000", true, false},
		{"docker.io", "http://mirror", "mirror/v2", "docker.io", "mirror", false, true},
		{"a.example.com:5000", "", "a.example.com:5000/v2", "", "a.example.com:5000", false, false},
		{"a.example.com:5000", "http://a.example.com:5000", "a.example.com:5000/v2", "", "a.example.com:5000", false, true},
		{"a.example.com:5000", "https://a.example.com", "a.example.com/v2", "a.example.com:5000", "a.example.com", true, false},
	} {
		config, err := hostTable{}.at(e.address, "/")
		if err != nil {
			t.Fatal(err)
		}
		got, err := c.newEndpoint(e.host, config, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got.host+got.root != e.at || got.mirrored != e.ns || got.registry.RegistryStr() != e.knownAs {
			t.Errorf("%s at %q: %s%s, ns %q, known as %s", e.host, e.address, got.host, got.root, got.mirrored, got.registry)
		}
		if got.isFixed() != (e.tlsOnly || e.httpOnly) || got.way.plain != e.httpOnly {
			t.Errorf("%s at %q: its scheme is fixed: %t, plain: %t", e.host, e.address, got.isFixed(), got.way.plain)
		}
	}
}

// An endpoint that failed rests, longer each time, until it answers.
func TestRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r rest
		if r.goesOn() {
			t.Error("it rests from the beginning")
		}
		for _, want := range []time.Duration{restFor, 2 * restFor, 4 * restFor, 8 * restFor, maxRest, maxRest} {
			if !r.begin() || r.begin() || !r.goesOn() {
				t.Error("it does not rest, or twice")
			}
			time.Sleep(want - time.Nanosecond)
			if !r.goesOn() {
				t.Errorf("it rests for less than %s", want)
			}
			time.Sleep(time.Nanosecond)
			if r.goesOn() {
				t.Errorf("it rests for more than %s", want)
			}
		}
		r.end()
		if r.begin(); !r.goesOn() {
			t.Error("it does not rest after an answer")
		}
		time.Sleep(restFor)
		if r.goesOn() {
			t.Error("an answer did not make its rest short")
		}
	})
}
