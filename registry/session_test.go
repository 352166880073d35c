package registry

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

const imageType = "application/vnd.oci.image.manifest.v1+json"

// manifests asks for the manifest "x" from n goroutines at once.
func manifests(t testing.TB, n int, repositories ...*Repository) {
	t.Helper()
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			if _, err := repositories[i%len(repositories)].Manifest(t.Context(), "x"); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestFirstContact(t *testing.T) {
	identity := fixed(authn.AuthConfig{IdentityToken: "identity"})
	user := fixed(authn.AuthConfig{Username: "u", Password: "p"})
	for name, c := range map[string]struct {
		server   registrytest.Options
		keychain authn.Keychain
		want     string
	}{
		"open":                      {registrytest.Options{}, Anonymous(), "ping, manifest"},
		"open, with credentials":    {registrytest.Options{}, user, "ping, manifest by basic"},
		"basic":                     {registrytest.Options{Username: "u", Password: "p"}, user, "ping, manifest by basic"},
		"basic, as in docker's":     {registrytest.Options{Username: "u", Password: "p"}, fixed(authn.AuthConfig{Auth: "dTpw"}), "ping, manifest by basic"},
		"tokens for all":            {registrytest.Options{Bearer: true}, Anonymous(), "ping, token, manifest by bearer"},
		"tokens for users":          {registrytest.Options{Bearer: true, Username: "u", Password: "p"}, user, "ping, token by basic, manifest by bearer"},
		"identity token":            {registrytest.Options{Bearer: true, Username: "u", IdentityToken: "identity"}, identity, "ping, POST token, manifest by bearer"},
		"identity, but no OAuth":    {registrytest.Options{Bearer: true}, identity, "ping, POST token, token, manifest by bearer"},
		"a token of the registry's": {registrytest.Options{}, fixed(authn.AuthConfig{RegistryToken: "t"}), "ping, manifest by bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, c.server)
			s.PutManifest("a", "x", imageType, []byte("{}"))
			r := repositoryOf(t, clientOf(t, Options{Keychain: c.keychain}), s.Host()+"/a")
			manifests(t, 1, r)
			if log := asked(s); log != c.want {
				t.Errorf("asked for %s", log)
			}
			s.Forget()
			manifests(t, 10, r)
			if n := s.Count(); n != 10 {
				t.Errorf("ten more took %d requests: %s", n, asked(s))
			}
		})
	}
}

// One ping serves a host, one token a repository, however many ask at once.
func TestFirstContactIsShared(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Bearer: true})
	c := clientOf(t, Options{})
	var repositories []*Repository
	for i := range 4 {
		name := fmt.Sprint("r", i)
		s.PutManifest(name, "x", imageType, []byte("{}"))
		repositories = append(repositories, repositoryOf(t, c, s.Host()+"/"+name))
	}
	manifests(t, 40, repositories...)
	if p, k, m := s.Count(registrytest.Ping), s.Count(registrytest.Token), s.Count(registrytest.Manifest); p != 1 || k != 4 || m != 40 {
		t.Errorf("%d pings, %d tokens, %d manifests", p, k, m)
	}
}

func TestTokenExpires(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Bearer: true})
	// Some challenges name no scope; the one that was asked for before is asked for again.
	s.Break(func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
		next(scopeless{w}, r)
	})
	s.PutManifest("a", "x", imageType, []byte("{}"))
	content := someBytes(1000)
	d := s.PutBlob("a", content)
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
	if _, _, err := get(t, r, d, 0, 500); err != nil {
		t.Fatal(err)
	}
	s.Forget()
	s.ExpireTokens()
	if b, start, err := get(t, r, d, 500, 500); err != nil || start != 500 || len(b) != 500 {
		t.Fatalf("%d bytes at %d, %v", len(b), start, err)
	}
	if log := asked(s); log != "blob by bearer, token, blob by bearer" {
		t.Errorf("asked for %s", log)
	}
	s.Forget()
	s.ExpireTokens()
	manifests(t, 20, r)
	// Whoever is refused first asks for a new one; the others take that.
	if p, k := s.Count(registrytest.Ping), s.Count(registrytest.Token); p != 0 || k != 1 {
		t.Errorf("%d pings and %d tokens for one that expired", p, k)
	}
}

// scopeless takes the scope out of challenges.
type scopeless struct{ http.ResponseWriter }

func (w scopeless) WriteHeader(status int) {
	if challenge, _, ok := strings.Cut(w.Header().Get("WWW-Authenticate"), ",scope="); ok {
		w.Header().Set("WWW-Authenticate", challenge)
	}
	w.ResponseWriter.WriteHeader(status)
}

// A registry that refuses a token fresh from its server means it.
func TestDenied(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Bearer: true})
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
	s.Break(registrytest.Only(registrytest.Manifest, registrytest.Refuse(401, "UNAUTHORIZED", "authentication required")))
	if _, err := r.Manifest(t.Context(), "x"); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("%v", err)
	}
	if log := asked(s); log != "ping, token, manifest by bearer" {
		t.Errorf("asked for %s", log)
	}
	// Somebody may have logged in meanwhile: all is learned anew.
	s.Heal()
	s.Forget()
	s.PutManifest("a", "x", imageType, []byte("{}"))
	manifests(t, 1, r)
	if log := asked(s); log != "ping, token, manifest by bearer" {
		t.Errorf("then asked for %s", log)
	}
}

// Only a registry's 404 about what was asked for says that it does not exist.
func TestContactErrors(t *testing.T) {
	for name, c := range map[string]struct {
		kind   registrytest.Kind
		fault  registrytest.Fault
		status int
		is     error
	}{
		"no registry":       {registrytest.Ping, registrytest.Refuse(404, "", ""), 0, ErrProtocol},
		"no token server":   {registrytest.Token, registrytest.Refuse(404, "", ""), 0, ErrProtocol},
		"broken":            {registrytest.Ping, registrytest.Refuse(503, "UNAVAILABLE", ""), 503, nil},
		"too many requests": {registrytest.Token, registrytest.Refuse(429, "TOOMANYREQUESTS", ""), 429, nil},
		"wrong password":    {registrytest.Token, registrytest.Refuse(401, "UNAUTHORIZED", ""), 401, iofs.ErrPermission},
		"no token":          {registrytest.Token, says(`{"refresh_token":"secret"}`), 0, ErrProtocol},
		"no JSON":           {registrytest.Token, says("secret\n<html>"), 0, ErrProtocol},
		"no realm":          {registrytest.Ping, challenges(`Bearer service="x"`), 0, ErrProtocol},
		"no host in realm":  {registrytest.Ping, challenges(`Bearer realm="/token"`), 0, ErrProtocol},
		"plain realm":       {registrytest.Ping, challenges(`Bearer realm="http://registry.example.com/token"`), 0, ErrPlainHTTP},
		"realm by file":     {registrytest.Ping, challenges(`Bearer realm="file://x/etc/passwd"`), 0, ErrProtocol},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{Bearer: true})
			s.Break(registrytest.Only(c.kind, c.fault))
			r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
			_, err := r.Manifest(t.Context(), "x")
			if err == nil || errors.Is(err, iofs.ErrNotExist) || statusOf(err) != c.status || c.is != nil && !errors.Is(err, c.is) {
				t.Errorf("%v", err)
			}
			if s.Count(registrytest.Manifest) != 0 {
				t.Error("the manifest was asked for")
			}
			if strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the answer is quoted: %q", err)
			}
		})
	}
}

// says answers with a body.
func says(body string) registrytest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		_, _ = w.Write([]byte(body))
	}
}

func challenges(challenge string) registrytest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// A registry of the network does not send clients to their own machine for a
// token, nor to the link's; one on a local address may have its server beside it.
func TestTokenServerElsewhere(t *testing.T) {
	tokens := registrytest.Start(t, registrytest.Options{Bearer: true})
	s := registrytest.Start(t, registrytest.Options{})
	s.PutManifest("a", "x", imageType, []byte("{}"))
	s.Break(registrytest.Only(registrytest.Ping, challenges(fmt.Sprintf("Bearer realm=%q", tokens.URL()+"/token"))))
	manifests(t, 1, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a"))
	if log := asked(tokens); log != "token" {
		t.Errorf("asked for %s", log)
	}
	for realm, is := range map[string]error{
		"https://127.0.0.1/token":          ErrRedirect,
		"https://localhost/token":          ErrRedirect,
		"https://169.254.169.254/token":    ErrRedirect,
		"https://[fe80::1%25eth0]/token":   ErrRedirect,
		"https://10.0.0.1/token":           ErrProtocol, // go-containerregistry's rule
		"http://registry.example.com:1/to": ErrPlainHTTP,
	} {
		s := registrytest.Start(t, registrytest.Options{})
		s.Break(registrytest.Only(registrytest.Ping, challenges(fmt.Sprintf("Bearer realm=%q", realm))))
		opts := proxied(t, s, "registry.example.com")
		opts.Keychain = fixed(authn.AuthConfig{Username: "u", Password: "p"})
		r := repositoryOf(t, clientOf(t, opts), "registry.example.com/a")
		if _, err := r.Manifest(t.Context(), "x"); !errors.Is(err, is) {
			t.Errorf("%s: %v", realm, err)
		}
		if log := asked(s); log != "ping" {
			t.Errorf("%s: asked for %s", realm, log)
		}
	}
}

// A ping that never ends is not read for ever.
func TestEndlessPing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.PutManifest("a", "x", imageType, []byte("{}"))
	s.Break(registrytest.Only(registrytest.Ping, func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		for b := make([]byte, 64<<10); ; {
			if _, err := w.Write(b); err != nil {
				return
			}
		}
	}))
	c := clientOf(t, Options{ReadTimeout: time.Second}) // and four at most for all of it
	manifests(t, 1, repositoryOf(t, c, s.Host()+"/a"))
	if got := c.Stats().Bytes; got > 2*maxBrief {
		t.Errorf("%d bytes were read", got)
	}
}

// Who waits for a first contact can leave; the contact goes on for the others.
func TestLeaveFirstContact(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.PutManifest("a", "x", imageType, []byte("{}"))
	pinged, release := make(chan struct{}), make(chan struct{})
	s.Break(registrytest.Only(registrytest.Ping, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
		close(pinged)
		<-release
		next(w, r)
	}))
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
	ctx, leave := context.WithCancelCause(t.Context())
	left := make(chan error)
	go func() {
		_, err := r.Manifest(ctx, "x")
		left <- err
	}()
	<-pinged
	why := errors.New("left")
	leave(why)
	if err := <-left; !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
	close(release)
	manifests(t, 2, r)
	if n := s.Count(registrytest.Ping); n != 1 {
		t.Errorf("%d pings", n)
	}
}

func TestContact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c contact[*int]
		n := 0
		broken := errors.New("broken")
		fail := func(context.Context) (*int, error) { n++; return nil, broken }
		hang := func(ctx context.Context) (*int, error) { n++; <-ctx.Done(); return nil, context.Cause(ctx) }
		learn := func(context.Context) (*int, error) { n++; return new(int), nil }
		for range 3 {
			if _, err := c.get(t.Context(), fail); !errors.Is(err, broken) {
				t.Errorf("%v", err)
			}
		}
		if n != 1 {
			t.Errorf("failed %d times in a moment", n)
		}
		time.Sleep(contactRemembered)
		begun := time.Now()
		if _, err := c.get(t.Context(), hang); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != contactLimit {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
		time.Sleep(contactRemembered)
		if _, err := c.get(t.Context(), func(context.Context) (*int, error) { panic("oh") }); err == nil || !strings.Contains(err.Error(), "oh") {
			t.Errorf("%v, want the panic", err)
		}
		time.Sleep(contactRemembered)
		a, err := c.get(t.Context(), learn)
		if err != nil || n != 3 {
			t.Fatalf("%v, learned %d times", err, n)
		}
		time.Sleep(1000 * time.Hour)
		if b, err := c.get(t.Context(), fail); err != nil || a != b {
			t.Errorf("it was forgotten: %v", err)
		}
		c.forget(new(int)) // is not what is known
		if b, err := c.get(t.Context(), fail); err != nil || a != b {
			t.Errorf("it was forgotten: %v", err)
		}
		c.forget(a)
		if b, err := c.get(t.Context(), learn); err != nil || a == b {
			t.Errorf("it was not forgotten: %v", err)
		}
	})
}

// TestSilentPing: a registry without TLS that says nothing is one that says
// nothing, not one that lacks TLS.
func TestSilentPing(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.Break(s.Silent())
	r := repositoryOf(t, clientOf(t, Options{ReadTimeout: 50 * time.Millisecond}), s.Host()+"/a")
	_, err := r.Manifest(t.Context(), "x")
	var timeout interface{ Timeout() bool }
	if !errors.As(err, &timeout) || !timeout.Timeout() || errors.Is(err, http.ErrSchemeMismatch) {
		t.Errorf("%v; want a timeout", err)
	}
}
