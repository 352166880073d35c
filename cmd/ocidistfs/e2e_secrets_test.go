//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestSecretsStayInMemory uses every kind of secret, with failures on the way, and
// looks for them in all that is written: "Secrets are written nowhere."
func TestSecretsStayInMemory(t *testing.T) {
	t.Parallel()
	const (
		password, identity = "pass-WORD-8471", "identity-TOKEN-3390"
		signature          = "signature-VALUE-5512"
		proxyPassword      = "proxy-WORD-7726"
	)
	image := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{300_000}})
	// A store of blobs that wants its signature, and fails at first.
	var failures atomic.Int32
	failures.Store(2)
	origin := registrytest.Start(t, registrytest.Options{})
	origin.Push(t, "app", "1", image)
	origin.Break(func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
		switch {
		case r.URL.Query().Get("sig") != signature:
			http.Error(w, "no signature", http.StatusForbidden)
		case failures.Add(-1) >= 0:
			http.Error(w, "failed for "+r.URL.String(), http.StatusInternalServerError)
		default:
			next(w, r)
		}
	})
	redirect := registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		http.Redirect(w, r, origin.URL()+r.URL.Path+"?sig="+signature, http.StatusTemporaryRedirect)
	})
	basic := registrytest.Start(t, registrytest.Options{Username: "alice", Password: password})
	bearer := registrytest.Start(t, registrytest.Options{Username: "alice", Password: password, Bearer: true})
	byIdentity := registrytest.Start(t, registrytest.Options{Username: "alice", Password: password, Bearer: true, IdentityToken: identity})
	all := []*registrytest.Server{basic, bearer, byIdentity}
	// What registries are sent, and send, is a secret too.
	var mu sync.Mutex
	secrets := []string{password, identity, signature, proxyPassword,
		base64.StdEncoding.EncodeToString([]byte("alice:" + password)), base64.StdEncoding.EncodeToString([]byte("bob:" + proxyPassword))}
	for _, s := range all {
		s.Push(t, "app", "1", image)
		s.Break(redirect)
		s.Break(func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
			if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
				mu.Lock()
				secrets = append(secrets, token)
				mu.Unlock()
			}
			if strings.HasSuffix(r.URL.Path, "/manifests/broken") {
				http.Error(w, "oops, "+r.Header.Get("Authorization"), http.StatusInternalServerError)
				return
			}
			next(w, r)
		})
	}
	// A proxy of one's own login.
	wants := "Basic " + base64.StdEncoding.EncodeToString([]byte("bob:"+proxyPassword))
	var through atomic.Int32
	forward := &httputil.ReverseProxy{Rewrite: func(*httputil.ProxyRequest) {}}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != wants {
			http.Error(w, "who is it", http.StatusProxyAuthRequired)
			return
		}
		through.Add(1)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(proxy.Close)
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	withProxy := "http://bob:" + proxyPassword + "@" + proxyURL.Host

	work := t.TempDir()
	login := filepath.Join(work, "login")
	if err := os.Mkdir(login, 0o700); err != nil {
		t.Fatal(err)
	}
	auths := map[string]any{}
	for _, s := range []*registrytest.Server{basic, bearer} {
		auths[s.Host()] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte("alice:" + password))}
	}
	auths[byIdentity.Host()] = map[string]string{"identitytoken": identity}
	config, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(login, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"DOCKER_CONFIG=" + login, "W=" + work}
	written := filepath.Join(work, "written")
	if err := os.Mkdir(written, 0o700); err != nil {
		t.Fatal(err)
	}
	attributes := 0
	look := func(dir string, servers ...*registrytest.Server) {
		for _, s := range servers {
			repository := filepath.Join(dir, s.Host(), "app")
			// The store of blobs fails twice, and whatever the registry has to say of
			// "broken" is not for everybody.
			bash(t, `until cat `+repository+`/tags/1/image.tar >/dev/null 2>>$W/written/said; do :; done
				fails ls `+repository+`/tags/broken 2>>$W/written/said
				fails cat `+repository+`/tags/none/digest 2>>$W/written/said
				cp `+dir+`/.ocidistfs/errors $W/written/errors-$RANDOM
				cp `+dir+`/.ocidistfs/status.json $W/written/status-$RANDOM
				ocidistfs status `+dir+` >$W/written/text-$RANDOM`, env...)
			for _, path := range []string{"/tags/1/image.tar", "/tags", "/tags/1"} {
				value := make([]byte, 4096)
				n, err := unix.Getxattr(repository+path, "user.oci.last_error", value)
				if err != nil {
					continue // nothing failed there
				}
				attributes++
				if err := os.WriteFile(fmt.Sprint(written, "/attribute-", attributes), value[:n], 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	dir := background(t, written+"/cache", "--log-level debug --log-file "+written+"/log1", env...)
	look(dir, all...)
	failures.Store(2)
	dir = background(t, written+"/cache2", "--log-level debug --log-file "+written+"/log2 --registry "+basic.Host()+
		" --username alice --password-stdin <<<"+password+" --proxy "+withProxy, env...)
	look(dir, basic)
	if through.Load() == 0 {
		t.Error("nothing went through the proxy")
	}
	for _, s := range all {
		bash(t, "ocidistfs pull --cache-dir $W/written/cache3 --path $W/written/pulled "+s.Host()+`/app:1 >>$W/written/said 2>&1
			fails ocidistfs pull --cache-dir $W/written/cache3 --path $W/written/none `+s.Host()+"/app:broken >>$W/written/said 2>&1", env...)
	}
	// With a wrong proxy and a wrong password the errors are about these.
	bash(t, "fails ocidistfs pull --no-cache --path $W/written/none --proxy http://bob:"+proxyPassword+"@127.0.0.1:1 "+basic.Host()+"/app:1 >>$W/written/said 2>&1", env...)
	bash(t, "fails ocidistfs pull --no-cache --path $W/written/none --username alice --password "+signature+" "+bearer.Host()+"/app:1 >>$W/written/said 2>&1", env...)

	mu.Lock()
	defer mu.Unlock()
	if len(secrets) < 8 {
		t.Errorf("no tokens were used: %q", secrets)
	}
	files := 0
	err = filepath.WalkDir(written, func(path string, d iofs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		for _, secret := range secrets {
			if at := bytes.Index(b, []byte(secret)); at >= 0 {
				t.Errorf("%s has %q: …%s…", path, secret, b[max(0, at-200):min(len(b), at+100)])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if attributes < 2 {
		t.Errorf("%d attributes tell of failures", attributes)
	}
	if said, err := os.ReadFile(filepath.Join(written, "said")); err != nil || !strings.Contains(string(said), "Remote I/O error") || files < 20 {
		t.Errorf("%d files, %v; the failures say %q", files, err, said)
	}
}
