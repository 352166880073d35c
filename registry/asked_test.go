package registry

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// Whoever is kept out learns who he was taken for, whatever he asked for, and
// nobody learns what the credentials are.
func TestAsked(t *testing.T) {
	for name, c := range map[string]struct {
		file, content string
		keychain      authn.Keychain
		want          string
	}{
		"nobody":         {dockerConfig, `{}`, nil, "without credentials"},
		"docker":         {dockerConfig, `{"auths":{"HOST":{"auth":"dTp3b3Jk"}}}`, nil, "with what docker is configured with"},
		"podman":         {podmanConfig, `{"auths":{"HOST":{"auth":"dTp3b3Jk"}}}`, nil, "with what podman is logged in with"},
		"given":          {dockerConfig, `{}`, fixed(authn.AuthConfig{Username: "u", Password: "word"}), "with the user name and password given"},
		"missing helper": {dockerConfig, `{"credHelpers":{"HOST":"gone"}}`, nil, "without credentials: docker-credential-gone: "},
		"locked helper":  {dockerConfig, `{"credHelpers":{"HOST":"locked"}}`, nil, "the keyring is locked"},
		"killed helper":  {dockerConfig, `{"credsStore":"killed"}`, nil, "without credentials: docker-credential-killed: "},
		"telling helper": {dockerConfig, `{"credsStore":"telling"}`, nil, "without credentials: docker-credential-telling: "},
		"broken file":    {dockerConfig, `{"auths":`, nil, "config.json"},
	} {
		for _, bearer := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				s := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p", Bearer: bearer})
				home := configure(t, c.file, strings.ReplaceAll(c.content, "HOST", s.Host()))
				for helper, script := range map[string]string{
					"locked": "echo the keyring is locked; exit 1", "killed": "kill -9 $$",
					"telling": `echo '{"Username":"u","Secret":"word"}'; exit 1`,
				} {
					if err := os.WriteFile(filepath.Join(home, "docker-credential-"+helper), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
						t.Fatal(err)
					}
				}
				t.Setenv("PATH", home+string(os.PathListSeparator)+os.Getenv("PATH"))
				opts := Options{Keychain: c.keychain}
				if opts.Keychain == nil {
					opts.Keychain = DefaultKeychain()
				}
				r := repositoryOf(t, clientOf(t, opts), s.Host()+"/a")
				d := s.PutManifest("a", "x", imageType, []byte("{}"))
				var errs [4]error
				for _, errs[0] = range r.Tags(t.Context()) {
				}
				_, errs[1] = r.Resolve(t.Context(), "x")
				_, errs[2] = r.Manifest(t.Context(), "x")
				_, _, errs[3] = r.BlobRange(t.Context(), d, 0, 1)
				for i, err := range errs {
					var answered *Error
					if !errors.As(err, &answered) {
						t.Errorf("%d: %v", i, err)
						continue
					}
					if !strings.Contains(answered.Asked, c.want) {
						t.Errorf("%d: %v, asked %q; want %q", i, err, answered.Asked, c.want)
					}
					if strings.Contains(answered.Asked, "word\"") || strings.Contains(answered.Asked, "dTp3b3Jk") {
						t.Errorf("%d: it tells a secret: %s", i, answered.Asked)
					}
				}
			})
		}
	}
}

// A store of blobs is asked with nothing, whoever is known to the registry.
func TestAskedElsewhere(t *testing.T) {
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }))
	defer store.Close()
	s := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p"})
	s.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if req.Kind == registrytest.Blob {
			http.Redirect(w, r, store.URL, http.StatusTemporaryRedirect)
			return
		}
		next(w, r)
	})
	d := s.PutManifest("a", "x", imageType, []byte("{}"))
	r := repositoryOf(t, clientOf(t, Options{Keychain: fixed(authn.AuthConfig{Username: "u", Password: "p"})}), s.Host()+"/a")
	var answered *Error
	if _, _, err := r.BlobRange(t.Context(), d, 0, 1); !errors.As(err, &answered) || answered.Status != http.StatusForbidden || answered.Asked != "" {
		t.Errorf("%+v", answered)
	}
}
