package mounted

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/layers"
)

const module = "../.."

// groups are those of FSSuite.
var groups = []string{
	"Basic", "Deletion", "Update", "DirectoryPermission", "ParentDirectoryPermission",
	"HardlinkUnmodified", "HardlinkBeforeUnmodified", "HardlinkBeforeModified",
}

// TestFSSuite runs the suite that containerd holds snapshotters to
// (containerd/continuity, fs/fstest) on a mount, for each encoding. It is in
// internal/unpack, whose module has it, and asks here for mounts.
func TestFSSuite(t *testing.T) {
	m := Start(t, module)
	binary := filepath.Join(m.Dir, "fssuite")
	compile := exec.CommandContext(t.Context(), "go", "-C", filepath.Join(module, "internal/unpack"), "test", "-c", "-o", binary, ".")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("build the suite: %v\n%s", err, out)
	}
	for _, e := range layers.All() {
		t.Run(e.Name, func(t *testing.T) {
			socket := filepath.Join(m.Dir, "mounter")
			var config net.ListenConfig
			l, err := config.Listen(t.Context(), "unix", socket)
			if err != nil {
				t.Fatal(err)
			}
			answered := make(chan int)
			go func() { answered <- m.answerSuite(t, l, e) }()
			c := exec.CommandContext(t.Context(), binary, "-test.run", "^TestFSSuite$", "-test.v", "-test.timeout", "5m")
			c.Env = append(os.Environ(), "OCIDISTFS_TEST_MOUNTER="+socket, "TMPDIR="+m.Dir)
			out, err := c.CombinedOutput()
			if err := l.Close(); err != nil {
				t.Error(err)
			}
			images := <-answered
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			for _, group := range groups {
				if !strings.Contains(string(out), "--- PASS: TestFSSuite/"+group+" ") {
					t.Errorf("%s did not pass", group)
				}
			}
			if images < 2*len(groups) {
				t.Errorf("only %d images were looked at", images)
			}
		})
	}
}

// answerSuite answers those who connect, one after the other, until nobody listens any
// more: to a line with the paths of layers, where their merged file system is. It
// returns to how many.
func (m *Mount) answerSuite(t *testing.T, l net.Listener, e layers.Encoding) (images int) {
	for {
		c, err := l.Accept()
		if err != nil {
			return images
		}
		for lines := bufio.NewScanner(c); lines.Scan(); images++ {
			var answer struct{ Root, Error string }
			if answer.Root, err = m.imageOf(lines.Bytes(), e); err != nil {
				answer.Error = err.Error()
			}
			if err := json.NewEncoder(c).Encode(answer); err != nil && !errors.Is(err, io.ErrClosedPipe) {
				t.Error(err)
			}
		}
		_ = c.Close() // the other side has done so
	}
}

func (m *Mount) imageOf(paths []byte, e layers.Encoding) (string, error) {
	var archives []string
	if err := json.Unmarshal(paths, &archives); err != nil {
		return "", err
	}
	var stored []layers.Layer
	for _, path := range archives {
		plain, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		l, err := e.Encode(plain)
		if err != nil {
			return "", err
		}
		stored = append(stored, l)
	}
	root, err := m.Image(stored...)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(root) // the suite does not follow it
}
