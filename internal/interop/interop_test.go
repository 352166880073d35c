// Package interop loads image.tar with the programs that people load images
// with, straight from a mount, and holds each to what is stated of it. It is no
// part of make test: make interop installs the programs and runs it.
package interop

import (
	"fmt"
	"os"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

const (
	// enabled is the variable that make interop sets.
	enabled = "OCIDISTFS_INTEROP"
	// pagePath is where the matrix is documented.
	pagePath = "../../docs/image-tar.md"
)

// measured is what TestInterop found.
var measured matrix

// TestMain prints the matrix last.
func TestMain(m *testing.M) {
	code := m.Run()
	if len(measured.rows) > 0 {
		fmt.Printf("\n%s\n", &measured)
	}
	os.Exit(code)
}

// TestInterop has a subtest for each loader, with one for each image in it.
func TestInterop(t *testing.T) {
	needsMounts(t)
	b := newBench(t)
	for _, c := range b.images {
		measured.columns = append(measured.columns, c.name)
	}
	for _, l := range loaders() {
		t.Run(l.name, func(t *testing.T) { l.test(t, b) })
	}
	t.Run("docker save", func(t *testing.T) { testDockerSave(t, b) })
	page, err := os.ReadFile(pagePath)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range measured.lacking(string(page)) {
		if gate.CI() {
			t.Errorf("%s does not have %s", pagePath, line)
		} else {
			t.Logf("%s does not have %s", pagePath, line)
		}
	}
}

// needsMounts ends a test that cannot run here.
func needsMounts(t *testing.T) {
	t.Helper()
	gate.Suite(t, enabled)
	gate.Mounts(t)
}

// loaders are all, in the order of the matrix.
func loaders() []loader {
	return []loader{
		docker(), podman("podman load -i", podmanFile), podman("podman load <", podmanStdin),
		containerd("containerd (Debian)", debianContainerd, "containerd", "ctr"), containerd("containerd (Go)", builtContainerd),
		skopeoDocker(), skopeoOCI(), cranePush(), craneValidate(), regctl(), umoci(),
		gnuTar(), busyboxTar(), bsdtar(), pythonTar(),
	}
}
