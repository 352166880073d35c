package registry

import (
	"bytes"
	"errors"
	iofs "io/fs"
	"net/http"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// to redirects; address is followed by the path that was asked for.
func to(address string) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		http.Redirect(w, r, address+r.URL.RequestURI(), http.StatusTemporaryRedirect)
	}
}

// TestRedirectWithoutCredentials: "Credentials go to the host that they are for
// and no other."
func TestRedirectWithoutCredentials(t *testing.T) {
	for name, server := range map[string]registrytest.Options{
		"basic":  {Username: "u", Password: "p"},
		"bearer": {Username: "u", Password: "p", Bearer: true},
	} {
		t.Run(name, func(t *testing.T) {
			cdn := registrytest.Start(t, registrytest.Options{})
			content := someBytes(1000)
			d := cdn.PutBlob("a", content)
			referer := make(chan string, 1)
			cdn.Break(func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
				referer <- r.Referer()
				next(w, r)
			})
			s := registrytest.Start(t, server)
			s.Break(registrytest.Only(registrytest.Blob, to(cdn.URL())))
			opts := Options{Keychain: BoundCredentials(s.Host(), "u", "p", Anonymous())}
			r := repositoryOf(t, clientOf(t, opts), s.Host()+"/a")
			if b, _, err := get(t, r, d, 500, 10); err != nil || !bytes.Equal(b, content[500:510]) {
				t.Fatalf("%d bytes, %v", len(b), err)
			}
			if log := asked(cdn); log != "blob" {
				t.Errorf("the other host was asked for %s", log)
			}
			if got := cdn.Requests()[0].Range; got != "bytes=500-509" {
				t.Errorf("the other host was asked for %q", got)
			}
			if from := <-referer; from != "" {
				t.Errorf("the other host was told of %s", from)
			}
		})
	}
}

// Back where the credentials are for, they are sent again.
func TestRedirectWithinRegistry(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p"})
	d := s.PutBlob("b", someBytes(10))
	s.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if req.Repository == "a" {
			http.Redirect(w, r, "/v2/b/blobs/"+req.Reference, http.StatusFound)
			return
		}
		next(w, r)
	}))
	r := repositoryOf(t, clientOf(t, Options{Keychain: BoundCredentials(s.Host(), "u", "p", Anonymous())}), s.Host()+"/a")
	if _, _, err := get(t, r, d, 0, 10); err != nil {
		t.Fatal(err)
	}
	if log := asked(s); log != "ping, blob by basic, blob by basic" {
		t.Errorf("asked for %s", log)
	}
}

// A registry on the link is where it is.
func TestRedirectOnLink(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	d := s.PutBlob("b", someBytes(10))
	s.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if req.Repository == "a" {
			http.Redirect(w, r, "/v2/b/blobs/"+req.Reference, http.StatusFound)
			return
		}
		next(w, r)
	}))
	r := repositoryOf(t, clientOf(t, proxied(t, s, "169.254.1.1:5000")), "169.254.1.1:5000/a")
	if _, _, err := get(t, r, d, 0, 10); err != nil {
		t.Error(err)
	}
}

func TestTokenServerRedirects(t *testing.T) {
	other := registrytest.Start(t, registrytest.Options{Bearer: true})
	s := registrytest.Start(t, registrytest.Options{Bearer: true, Username: "u", Password: "p"})
	s.Break(registrytest.Only(registrytest.Token, to(other.URL())))
	r := repositoryOf(t, clientOf(t, Options{Keychain: BoundCredentials(s.Host(), "u", "p", Anonymous())}), s.Host()+"/a")
	if _, err := r.Manifest(t.Context(), "x"); err == nil {
		t.Error("a token of elsewhere is good")
	}
	for _, req := range other.Requests() {
		if req.Authorization != "" {
			t.Errorf("%s by %s", req.Kind, req.Authorization)
		}
	}
}

// A public registry sends nobody to this machine or its link, not even at first
// contact.
func TestRedirectInside(t *testing.T) {
	inside := registrytest.Start(t, registrytest.Options{})
	inside.PutManifest("a", "x", imageType, []byte("{}"))
	d := inside.PutBlob("a", someBytes(10))
	for _, address := range []string{inside.URL(), "http://localhost", "https://LocalHost", "https://localhost.", "https://[::1]", "https://169.254.169.254", "https://[fe80::1%25eth0]", "https://0.0.0.0"} {
		for _, kind := range []registrytest.Kind{registrytest.Ping, registrytest.Manifest, registrytest.Blob} {
			s := registrytest.Start(t, registrytest.Options{})
			s.Break(registrytest.Only(kind, to(address)))
			r := repositoryOf(t, clientOf(t, proxied(t, s, "registry.example.com")), "registry.example.com/a")
			var err error
			if kind == registrytest.Blob {
				_, _, err = get(t, r, d, 0, 10)
			} else {
				_, err = r.Manifest(t.Context(), "x")
			}
			if !errors.Is(err, ErrRedirect) {
				t.Errorf("%s to %s: %v", kind, address, err)
			}
		}
	}
	if inside.Count() != 0 {
		t.Errorf("asked for %s", asked(inside))
	}
}

func TestRedirectRefused(t *testing.T) {
	plain := registrytest.Start(t, registrytest.Options{})
	d := plain.PutBlob("a", someBytes(10))
	t.Run("from TLS", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.Options{TLS: true})
		s.Break(registrytest.Only(registrytest.Blob, to(plain.URL())))
		r := repositoryOf(t, clientOf(t, Options{RootCAs: authorities(t, s)}), s.Host()+"/a")
		if _, _, err := get(t, r, d, 0, 10); !errors.Is(err, ErrRedirect) || plain.Count() != 0 {
			t.Errorf("%v, after %d requests", err, plain.Count())
		}
	})
	t.Run("in a circle", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.Options{})
		s.Break(registrytest.Only(registrytest.Blob, to("")))
		r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
		if _, _, err := get(t, r, d, 0, 10); !errors.Is(err, ErrRedirect) || s.Count(registrytest.Blob) != 1+maxRedirects {
			t.Errorf("%v, after %s", err, asked(s))
		}
	})
	t.Run("to nowhere", func(t *testing.T) {
		s := registrytest.Start(t, registrytest.Options{})
		s.Break(registrytest.Only(registrytest.Blob, to("http://cdn.example.com/secret")))
		r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
		_, _, err := get(t, r, d, 0, 10)
		if !errors.Is(err, ErrPlainHTTP) {
			t.Errorf("%v", err)
		}
		if bytes.Contains([]byte(err.Error()), []byte("secret")) {
			t.Errorf("the address is quoted: %v", err)
		}
	})
}

// That a CDN has lost a blob does not mean that its registry has.
func TestRedirectToNothing(t *testing.T) {
	cdn := registrytest.Start(t, registrytest.Options{})
	s := registrytest.Start(t, registrytest.Options{})
	d := s.PutBlob("a", someBytes(10))
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
	s.Break(registrytest.Only(registrytest.Blob, to(cdn.URL()+"/bucket")))
	if _, _, err := get(t, r, d, 0, 10); err == nil || errors.Is(err, iofs.ErrNotExist) || !errors.Is(err, ErrProtocol) {
		t.Errorf("a bucket: %v", err)
	}
	s.Heal()
	s.Break(registrytest.Only(registrytest.Blob, to(cdn.URL()))) // another registry, as registry.k8s.io does
	if _, _, err := get(t, r, d, 0, 10); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("a registry: %v", err)
	}
}

// A CDN that wants to be authenticated to gets no credentials, and does not make
// the registry forget its own.
func TestRedirectToLogin(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p", Bearer: true})
	cdn := registrytest.Start(t, registrytest.Options{})
	cdn.Break(challenges("Bearer realm=" + `"` + cdn.URL() + `/token"`))
	d := s.PutBlob("a", someBytes(10))
	s.PutManifest("a", "x", imageType, []byte("{}"))
	s.Break(registrytest.Only(registrytest.Blob, to(cdn.URL()+"/bucket")))
	r := repositoryOf(t, clientOf(t, Options{Keychain: fixed(authn.AuthConfig{Username: "u", Password: "p"})}), s.Host()+"/a")
	if _, _, err := get(t, r, d, 0, 10); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("%v", err)
	}
	s.Forget()
	manifests(t, 1, r)
	if asked(s) != "manifest by bearer" || asked(cdn) != "other, other" {
		t.Errorf("asked for %s; at the other host for %s", asked(s), asked(cdn))
	}
}
