package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// engineModule pins docker's engine and the BuildKit that it is made with, which are
// too large for the module of the other programs, and go with other versions of what
// they have in common with them.
const engineModule = "../engine"

// An engine is docker's, with the containerd image store, which Debian's does not
// have. It is spoken to as its client does, whose version does not matter then.
type engine struct {
	home   string
	client *http.Client
}

// startEngine starts a containerd and the engine on it. What the registry of the bench
// has is found there, and under docker.io as well.
func startEngine(t *testing.T, b *bench) *engine {
	t.Helper()
	dockerd, err := goToolOf(t, engineModule, "dockerd")
	if err != nil {
		gate.Missing(t, "the engine cannot be built: %v", err)
	}
	home := b.home(t, "engine")
	startContainerd(t, home, builtContainerd(t))
	config, err := json.Marshal(map[string]any{
		"features":         map[string]bool{"containerd-snapshotter": true},
		"registry-mirrors": []string{"http://" + b.registry.Host},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(home, "daemon.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(home, "e.sock")
	e := &engine{home, &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", socket)
		},
	}}}
	t.Cleanup(e.client.CloseIdleConnections)
	startDaemon(t, command{home: home, args: []string{
		dockerd, "--host", "unix://" + socket, "--config-file", filepath.Join(home, "daemon.json"),
		"--containerd", filepath.Join(home, "c.sock"),
		"--data-root", filepath.Join(home, "data"), "--exec-root", filepath.Join(home, "exec"),
		"--pidfile", filepath.Join(home, "e.pid"),
		"--storage-driver", snapshotter, "--exec-opt", "native.cgroupdriver=cgroupfs",
		"--bridge", "none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
	}}, func() error { return e.call(t, http.MethodGet, "/_ping", io.Discard) })
	return e
}

// call makes a request of the engine's API and writes its answer to w.
func (e *engine) call(t *testing.T, method, path string, w io.Writer) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, nil)
	if err != nil {
		return err
	}
	answer, err := e.client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(answer.Body) // the status is the error
		return fmt.Errorf("%s %s: %s: %s", method, path, answer.Status, said)
	}
	_, err = io.Copy(w, answer.Body)
	return err
}

// version is the engine's, as its module has it.
func (e *engine) version(t *testing.T) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "-C", engineModule, "list", "-m", "github.com/moby/moby/v2").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// pull is docker pull.
func (e *engine) pull(t *testing.T, ref string) {
	t.Helper()
	// A tag before a digest is left out, as the client does it.
	from, version, digested := strings.Cut(ref, "@")
	colon := strings.LastIndexByte(from, ':')
	tagged := colon > strings.LastIndexByte(from, '/')
	switch {
	case digested && tagged:
		from = from[:colon]
	case !digested:
		from, version = from[:colon], from[colon+1:]
	}
	var said strings.Builder
	query := url.Values{"fromImage": {from}, "tag": {version}}
	if err := e.call(t, http.MethodPost, "/images/create?"+query.Encode(), &said); err != nil {
		t.Fatal(err)
	}
	// Its errors come after the status.
	if strings.Contains(said.String(), `"errorDetail"`) {
		t.Fatalf("pull %s: %s", ref, &said)
	}
}

// save is docker save --platform, into a file.
func (e *engine) save(t *testing.T, ref, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	query := url.Values{"platform": {fmt.Sprintf(`{"os":"linux","architecture":%q}`, runtime.GOARCH)}}
	if err := e.call(t, http.MethodGet, "/images/"+ref+"/get?"+query.Encode(), f); err != nil {
		t.Fatal(err)
	}
}

// remove is docker rmi. Nothing of the image is left when it returns.
func (e *engine) remove(t *testing.T, ref string) {
	t.Helper()
	if err := e.call(t, http.MethodDelete, "/images/"+ref+"?force=1", io.Discard); err != nil {
		t.Error(err)
	}
}
