package rootfs

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// unpackProgram compiles internal/unpack, which unpacks layers as containerd does,
// into Go's build cache.
var unpackProgram = sync.OnceValues(func() (string, error) {
	compile := exec.Command("go", "-C", "../../internal/unpack", "tool", "-n", "unpack")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said bytes.Buffer
	compile.Stderr = &said
	program, err := compile.Output()
	if err != nil {
		return "", fmt.Errorf("build internal/unpack: %w\n%s", err, &said)
	}
	return strings.TrimSpace(string(program)), nil
})

// unpacked is what containerd makes of layers: with how "overlay", unpacked into a
// directory each, with overlayfs over them; with "directory", into one.
func unpacked(t testing.TB, how string, layers [][]byte) ([]seenFile, error) {
	t.Helper()
	if os.Getuid() != 0 {
		gate.Missing(t, "only root can unpack layers and mount an overlay")
	}
	program, err := unpackProgram()
	if err != nil {
		t.Fatal(err)
	}
	work := t.TempDir()
	args := []string{how}
	for i, layer := range layers {
		path := filepath.Join(work, fmt.Sprint(i, ".tar"))
		if err := os.WriteFile(path, layer, 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, path)
	}
	c := exec.CommandContext(t.Context(), program, args...)
	var said bytes.Buffer
	c.Stderr = &said
	out, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%w\n%s", err, &said)
	}
	var files []seenFile
	if err := json.Unmarshal(out, &files); err != nil {
		t.Fatal(err)
	}
	return files, nil
}
