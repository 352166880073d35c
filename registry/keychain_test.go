package registry

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// fixed has the same credentials for everybody, which nothing but a test wants.
func fixed(config authn.AuthConfig) authn.Keychain {
	return keychain(func(authn.Resource) (authn.Authenticator, error) { return authn.FromConfig(config), nil })
}

type keychain func(authn.Resource) (authn.Authenticator, error)

func (k keychain) Resolve(r authn.Resource) (authn.Authenticator, error) { return k(r) }

// What is public can be read, whatever happens to a keychain.
func TestKeychainPanics(t *testing.T) {
	var log bytes.Buffer
	c := clientOf(t, Options{
		Keychain: keychain(func(authn.Resource) (authn.Authenticator, error) { panic("oh") }),
		Logger:   slog.New(slog.NewTextHandler(&log, nil)),
	})
	if got, source, failure := c.credentials(t.Context(), repositoryOf(t, c, "quay.io/a").parsed); failure == nil || got != (authn.AuthConfig{}) || source != "" {
		t.Errorf("user %q of %q, failure %v", got.Username, source, failure)
	}
	if !strings.Contains(log.String(), "oh") {
		t.Errorf("the log says %q", log.String())
	}
}

func TestBoundCredentials(t *testing.T) {
	mine := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p"})
	other := registrytest.Start(t, registrytest.Options{})
	c := clientOf(t, Options{Keychain: BoundCredentials(mine.Host(), "u", "p", Anonymous())})
	for _, s := range []*registrytest.Server{mine, other} {
		s.PutManifest("a", "x", imageType, []byte("{}"))
		manifests(t, 1, repositoryOf(t, c, s.Host()+"/a"))
	}
	if asked(mine) != "ping, manifest by basic" || asked(other) != "ping, manifest" {
		t.Errorf("asked for %s, and elsewhere for %s", asked(mine), asked(other))
	}
	for host, bound := range map[string]bool{"docker.io": true, "index.docker.io": true, "registry-1.docker.io": true, "quay.io": false, "docker.io.example.com": false} {
		opts := Options{Keychain: BoundCredentials("docker.io", "u", "p", Anonymous())}
		c := clientOf(t, opts)
		if got, source, _ := c.credentials(t.Context(), repositoryOf(t, c, host+"/a/b").parsed); (got.Password == "p") != bound || (source == Given) != bound {
			t.Errorf("%s gets %q", host, got.Username)
		}
	}
}

// configure makes a home directory with docker's or podman's configuration.
func configure(t *testing.T, file, content string) string {
	t.Helper()
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("DOCKER_CONFIG", filepath.Join(home, ".docker")) // docker's own code finds its home once a process
	for _, name := range []string{"REGISTRY_AUTH_FILE", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_AUTH_CONFIG"} {
		t.Setenv(name, "") // to be put back
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	path := filepath.Join(home, file)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return home
}

const (
	dockerConfig = ".docker/config.json"
	podmanConfig = ".config/containers/auth.json"
)

func TestDefaultKeychain(t *testing.T) {
	login := func(host string) string {
		return `{"auths":{"` + host + `":{"auth":"` + base64.StdEncoding.EncodeToString([]byte("u:p")) + `"}}}`
	}
	for name, c := range map[string]struct {
		file, content, repository string
		want                      bool
	}{
		"docker":                      {dockerConfig, login("quay.io"), "quay.io/a", true},
		"docker, another host":        {dockerConfig, login("quay.io"), "ghcr.io/a", false},
		"docker, another port":        {dockerConfig, login("quay.io"), "quay.io:5000/a", false},
		"docker, Docker Hub":          {dockerConfig, login("https://index.docker.io/v1/"), "docker.io/a", true},
		"docker, Docker Hub by alias": {dockerConfig, login("https://index.docker.io/v1/"), "registry-1.docker.io/a/b", true},
		"podman":                      {podmanConfig, login("quay.io"), "quay.io/a", true},
		"podman, Docker Hub":          {podmanConfig, login("docker.io"), "docker.io/a", true},
		"podman, another host":        {podmanConfig, login("docker.io"), "quay.io/a", false},
		"podman, one repository":      {podmanConfig, login("quay.io/a/b"), "quay.io/a/b", true},
		"podman, a namespace":         {podmanConfig, login("quay.io/a"), "quay.io/a/b", true},
		"podman, hub's namespace":     {podmanConfig, login("docker.io/library"), "docker.io/alpine", true},
		"IPv6":                        {dockerConfig, login("[::1]:5000"), "[::1]:5000/a", true},
		"nobody logged in":            {dockerConfig, `{}`, "quay.io/a", false},
	} {
		t.Run(name, func(t *testing.T) {
			configure(t, c.file, c.content)
			var log bytes.Buffer
			client := NewClient(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			got, source, _ := client.credentials(t.Context(), repositoryOf(t, client, c.repository).parsed)
			if (got.Username == "u" && got.Password == "p") != c.want || (got != authn.AuthConfig{}) != c.want {
				t.Errorf("user %q", got.Username)
			}
			if kind, _, _ := strings.Cut(name, ","); c.want && kind != "IPv6" && string(source) != kind || !c.want && source != "" {
				t.Errorf("source %q", source)
			}
			if log.Len() > 0 {
				t.Errorf("logged %s", &log)
			}
		})
	}
}

// One that is logged in with podman is, though docker is there too.
func TestDockerAndPodman(t *testing.T) {
	home := configure(t, dockerConfig, `{"auths":{"ghcr.io":{"auth":"dTpw"}}}`)
	path := filepath.Join(home, "auth.json")
	if err := os.WriteFile(path, []byte(`{"auths":{"quay.io":{"auth":"dTpw"},"docker.io/a":{"auth":"dTpw"},"docker.io/b":{"auth":"eDp5"},"docker.io":{"auth":"eDp5"},"ghcr.io":{"auth":"eDp5"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REGISTRY_AUTH_FILE", path)
	c := NewClient(Options{})
	for _, name := range []string{"ghcr.io/a", "quay.io/a", "docker.io/a/b/c"} {
		if got, _, _ := c.credentials(t.Context(), repositoryOf(t, c, name).parsed); got.Username != "u" {
			t.Errorf("%s: user %q", name, got.Username)
		}
	}
}

// Podman's login is known whatever became of docker's credential helper.
func TestPodmanDespiteDocker(t *testing.T) {
	home := configure(t, dockerConfig, `{"credsStore":"no-such-helper-anywhere"}`)
	path := filepath.Join(home, "auth.json")
	if err := os.WriteFile(path, []byte(`{"auths":{"quay.io":{"auth":"dTpw"}}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REGISTRY_AUTH_FILE", path)
	c := NewClient(Options{})
	for name, source := range map[string]Source{"quay.io/a": Podman, "ghcr.io/a": ""} {
		if _, got, failure := c.credentials(t.Context(), repositoryOf(t, c, name).parsed); got != source || (failure == nil) != (source != "") {
			t.Errorf("%s: source %q, %v", name, got, failure)
		}
	}
}

// What is public can be read without the credential helper that is configured,
// and one line says why.
func TestBrokenCredentials(t *testing.T) {
	for name, content := range map[string]string{
		"missing helper": `{"credsStore":"no-such-helper-anywhere"}`,
		"broken helper":  `{"credsStore":"broken"}`,
		"no JSON":        `{"auths":`,
	} {
		t.Run(name, func(t *testing.T) {
			home := configure(t, dockerConfig, content)
			helper := filepath.Join(home, "docker-credential-broken")
			if err := os.WriteFile(helper, []byte("#!/bin/sh\necho cannot open the keyring >&2\nexit 1\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", home+string(os.PathListSeparator)+os.Getenv("PATH"))
			s := registrytest.Start(t, registrytest.Options{Bearer: true})
			var log bytes.Buffer
			c := NewClient(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			defer c.Close()
			for _, name := range []string{"a", "b"} {
				s.PutManifest(name, "x", imageType, []byte("{}"))
				manifests(t, 1, repositoryOf(t, c, s.Host()+"/"+name))
			}
			if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), s.Host()) {
				t.Errorf("%d warnings: %s", n, &log)
			}
		})
	}
}

// A helper that waits for somebody who is not there holds nobody for ever.
func TestStuckCredentials(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		defer close(stuck)
		var log bytes.Buffer
		c := NewClient(Options{
			Logger:   slog.New(slog.NewTextHandler(&log, nil)),
			Keychain: keychain(func(authn.Resource) (authn.Authenticator, error) { <-stuck; return authn.Anonymous, nil }),
		})
		if got, _, _ := c.credentials(t.Context(), repositoryOf(t, c, "quay.io/a").parsed); got != (authn.AuthConfig{}) {
			t.Errorf("user %q", got.Username)
		}
		if !strings.Contains(log.String(), ErrStalled.Error()) {
			t.Errorf("logged %q", &log)
		}
	})
}

// A keychain may keep its work for when the credentials are first asked for.
func TestLateCredentials(t *testing.T) {
	late := keychain(func(authn.Resource) (authn.Authenticator, error) { return lateAuthenticator{}, nil })
	c := clientOf(t, Options{Keychain: late})
	if got, _, _ := c.credentials(t.Context(), repositoryOf(t, c, "quay.io/a").parsed); got != (authn.AuthConfig{}) {
		t.Errorf("user %q", got.Username)
	}
}

type lateAuthenticator struct{}

func (lateAuthenticator) Authorization() (*authn.AuthConfig, error) {
	return nil, errors.New("keyring is locked")
}

func (lateAuthenticator) AuthorizationContext(context.Context) (*authn.AuthConfig, error) {
	return lateAuthenticator{}.Authorization()
}

func TestHostOfCredentials(t *testing.T) {
	for key, want := range map[string]string{
		"https://index.docker.io/v1/": "docker.io", "docker.io": "docker.io", "http://localhost:5000": "localhost:5000",
		"quay.io/a/b": "quay.io", "[::1]:5000": "[::1]:5000", "": "", "helper": "", "https://": "",
	} {
		if got := HostOfCredentials(key); got != want {
			t.Errorf("%q is of %q", key, got)
		}
	}
}
