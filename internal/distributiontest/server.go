// Package distributiontest runs the CNCF distribution registry for end-to-end
// tests: the program itself, as a process of its own on loopback, with its
// access log. internal/distribution pins its version.
package distributiontest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Auth is how a registry authenticates its clients.
type Auth int

// The ways to authenticate: none, basic with a password file, bearer with a
// token server.
const (
	Open Auth = iota
	Basic
	Bearer
)

// The credentials of [Basic] and [Bearer] registries.
const (
	Username = "user"
	Password = "secret"
	// passwordFile is htpasswd's line for them: bcrypt, at its lowest cost.
	passwordFile = "user:$2a$04$0TUZPwv2QGlJP6E.W5NQae/HWiVEClwrNfBpKbHY9OjUojUgoSpE2\n"
)

// startLimit is how long a registry may take to listen.
const startLimit = 30 * time.Second

// Options are what a [Server] is like. The zero value is the pinned registry, of
// version 3, open to everybody.
type Options struct {
	Auth Auth
	// Mirrors makes it a pull-through cache of the registry at this address; "" is
	// none.
	Mirrors string
	// Program is a registry of version 2 to run instead, as Debian packages it.
	Program string
	// Realm is where the registry sends for tokens those who reach it and its token
	// server through a proxy; "" is to the token server.
	Realm string
	// Transport is for pushes; nil is the default one.
	Transport http.RoundTripper
}

// A Server is a running registry. It ends with its test.
type Server struct {
	Host   string // as references have it
	Tokens string // the address of the token server of a [Bearer] registry
	push   http.RoundTripper
	auth   Auth
	data   string // the directory that it stores in
	log    accessLog
	stop   func() // ends the process, and returns when it has

	flushes int // how often the log was asked for its end; of one goroutine
}

// Start builds the registry, if nobody did yet, and runs it.
func Start(t testing.TB, auth Auth) *Server {
	t.Helper()
	return StartWith(t, Options{Auth: auth})
}

// StartWith runs the registry that the options describe; it builds it, if it is
// the pinned one and nobody did yet.
func StartWith(t testing.TB, opts Options) *Server {
	t.Helper()
	program := opts.Program
	if program == "" {
		var err error
		if program, err = build(); err != nil {
			t.Fatal(err)
		}
	}
	if opts.Transport == nil {
		opts.Transport = http.DefaultTransport
	}
	dir := t.TempDir()
	s := &Server{push: opts.Transport, auth: opts.Auth, data: filepath.Join(dir, "data")}
	if err := os.WriteFile(filepath.Join(dir, "config.yml"), s.config(t, dir, opts), 0o600); err != nil {
		t.Fatal(err)
	}
	registry := exec.CommandContext(t.Context(), program, "serve", filepath.Join(dir, "config.yml"))
	registry.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	registry.Stdout = &s.log
	said, err := registry.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := registry.Start(); err != nil {
		t.Fatal(err)
	}
	s.stop = sync.OnceFunc(func() {
		_ = registry.Process.Kill() // at the end of the test it is killed with the context
		_ = registry.Wait()
	})
	t.Cleanup(s.stop)
	if s.Host, err = listening(said); err != nil {
		t.Fatal(err)
	}
	return s
}

// Kill ends the registry, as a crash would.
func (s *Server) Kill() { s.stop() }

// build compiles the registry into Go's build cache, which keeps programs that
// modules name as tools, and returns where it is there.
var build = sync.OnceValues(func() (string, error) {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return "", errors.New("where the source of this test is, is not known")
	}
	module := filepath.Join(filepath.Dir(filepath.Dir(here)), "distribution")
	compile := exec.Command("go", "-C", module, "tool", "-n", "registry")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said bytes.Buffer
	compile.Stderr = &said
	program, err := compile.Output()
	if err != nil {
		return "", fmt.Errorf("build the distribution registry: %w\n%s", err, &said)
	}
	return strings.TrimSpace(string(program)), nil
})

// config is the registry's configuration: it listens where there is room.
func (s *Server) config(t testing.TB, dir string, opts Options) []byte {
	t.Helper()
	config := map[string]any{
		"version": "0.1",
		"log":     map[string]any{"level": "info", "formatter": "json"},
		"storage": map[string]any{"filesystem": map[string]any{"rootdirectory": s.data}},
		"http":    map[string]any{"addr": "127.0.0.1:0", "secret": "a test's"},
	}
	if opts.Mirrors != "" {
		config["proxy"] = map[string]any{"remoteurl": opts.Mirrors}
	}
	switch s.auth {
	case Open:
	case Basic:
		path := filepath.Join(dir, "htpasswd")
		if err := os.WriteFile(path, []byte(passwordFile), 0o600); err != nil {
			t.Fatal(err)
		}
		config["auth"] = map[string]any{"htpasswd": map[string]any{"realm": "test", "path": path}}
	case Bearer:
		tokens := startTokens(t, dir, opts)
		s.Tokens = tokens.address
		config["auth"] = map[string]any{"token": tokens.config}
	}
	b, err := json.Marshal(config) // JSON is YAML
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var addressPattern = regexp.MustCompile(`listening on (127\.0\.0\.1:[0-9]+)`)

// listening reads what a registry says until it names its address; what it says
// later goes nowhere.
func listening(said io.Reader) (string, error) {
	address := make(chan string, 1)
	var text []byte
	go func() {
		defer close(address)
		lines := bufio.NewScanner(said)
		for lines.Scan() {
			text = append(append(text, lines.Bytes()...), '\n')
			if m := addressPattern.FindSubmatch(lines.Bytes()); m != nil {
				address <- string(m[1])
				_, _ = io.Copy(io.Discard, said) // until it ends
				return
			}
		}
	}()
	select {
	case host, ok := <-address:
		if !ok {
			return "", fmt.Errorf("the registry ended:\n%s", text)
		}
		return host, nil
	case <-time.After(startLimit):
		return "", fmt.Errorf("the registry does not listen after %s", startLimit)
	}
}

// reference is a tag of a repository, and what it takes to push to it.
func (s *Server) reference(t testing.TB, repo, tag string) (name.Tag, []remote.Option) {
	t.Helper()
	ref, err := name.NewTag(s.Host+"/"+repo+":"+tag, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	options := []remote.Option{remote.WithContext(t.Context()), remote.WithTransport(s.push)}
	if s.auth != Open {
		options = append(options, remote.WithAuth(&authn.Basic{Username: Username, Password: Password}))
	}
	return ref, options
}

// Push pushes an image.
func (s *Server) Push(t testing.TB, repo, tag string, image v1.Image) {
	t.Helper()
	ref, options := s.reference(t, repo, tag)
	if err := remote.Write(ref, image, options...); err != nil {
		t.Fatal(err)
	}
}

// PushIndex pushes an index with its images.
func (s *Server) PushIndex(t testing.TB, repo, tag string, index v1.ImageIndex) {
	t.Helper()
	ref, options := s.reference(t, repo, tag)
	if err := remote.WriteIndex(ref, index, options...); err != nil {
		t.Fatal(err)
	}
}

// TagMany makes more tags name what one tag does. The registry's directory is
// written, as the registry itself would: a request each takes long for thousands.
func (s *Server) TagMany(t testing.TB, repo, like string, tags ...string) {
	t.Helper()
	all := filepath.Join(s.data, "docker", "registry", "v2", "repositories", repo, "_manifests", "tags")
	link, err := os.ReadFile(filepath.Join(all, like, "current", "link"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		dir := filepath.Join(all, tag, "current")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "link"), link, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// PutBlob makes a file a blob of a repository. The registry's directory is
// written, as the registry itself would: a link, where the file can have one,
// takes neither time nor room.
func (s *Server) PutBlob(t testing.TB, repo string, d v1.Hash, path string) {
	t.Helper()
	root := filepath.Join(s.data, "docker", "registry", "v2")
	blob := filepath.Join(root, "blobs", d.Algorithm, d.Hex[:2], d.Hex, "data")
	layer := filepath.Join(root, "repositories", repo, "_layers", d.Algorithm, d.Hex, "link")
	for _, file := range []string{blob, layer} {
		if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(layer, []byte(d.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	err := os.Link(path, blob)
	if errors.Is(err, syscall.EXDEV) {
		err = copyFile(blob, path)
	}
	if err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
}

// copyFile copies into a file that is not there yet.
func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
