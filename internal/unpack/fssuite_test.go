package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/containerd/containerd/v2/pkg/archive"
	"github.com/containerd/continuity/fs"
	"github.com/containerd/continuity/fs/fstest"
)

// mounterVariable names the socket of who mounts images: internal/mounted, which runs
// this test. It takes lists of layers, and answers where their merged file system
// is.
const mounterVariable = "OCIDISTFS_TEST_MOUNTER"

// TestFSSuite holds a mount to the suite that containerd holds snapshotters to. Each
// step makes a layer, by containerd's own diff, on top of those of the steps before;
// all of them are an image, and its merged file system is compared.
func TestFSSuite(t *testing.T) {
	socket := os.Getenv(mounterVariable)
	if socket == "" {
		t.Skipf("%s is not set: make rootfs runs this", mounterVariable)
	}
	var dialer net.Dialer
	c, err := dialer.DialContext(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	fstest.FSSuite(t, &mounter{json.NewEncoder(c), json.NewDecoder(c), t.TempDir()})
}

// A mounter is who mounts, and where layers are made for it.
type mounter struct {
	ask    *json.Encoder
	answer *json.Decoder
	dir    string
}

// An image is what one test of the suite has come to.
type image struct {
	dir    string // "directory" in it is the file system
	layers []string
}

type imageKey struct{}

func (m *mounter) TestContext(ctx context.Context) (context.Context, func(), error) {
	dir, err := os.MkdirTemp(m.dir, "image-")
	if err != nil {
		return nil, nil, err
	}
	i := &image{dir: dir}
	if err := os.Mkdir(i.in("directory"), 0o755); err != nil {
		return nil, nil, err
	}
	return context.WithValue(ctx, imageKey{}, i), func() { _ = os.RemoveAll(dir) }, nil
}

func (i *image) in(name string) string { return filepath.Join(i.dir, name) }

func (m *mounter) Apply(ctx context.Context, step fstest.Applier) (string, func(), error) {
	i, ok := ctx.Value(imageKey{}).(*image)
	if !ok {
		return "", nil, errors.New("this is not the context of a test")
	}
	layer, err := i.apply(ctx, step)
	if err != nil {
		return "", nil, err
	}
	i.layers = append(i.layers, layer)
	if err := m.ask.Encode(i.layers); err != nil {
		return "", nil, err
	}
	var mounted struct{ Root, Error string }
	if err := m.answer.Decode(&mounted); err != nil {
		return "", nil, err
	}
	if mounted.Error != "" {
		return "", nil, errors.New(mounted.Error)
	}
	return mounted.Root, nil, nil
}

// apply takes a step and makes a layer of it.
func (i *image) apply(ctx context.Context, step fstest.Applier) (path string, err error) {
	before := i.in(fmt.Sprint("before-", len(i.layers)))
	if err := fs.CopyDir(before, i.in("directory")); err != nil {
		return "", err
	}
	if err := step.Apply(i.in("directory")); err != nil {
		return "", err
	}
	f, err := os.Create(i.in(fmt.Sprint(len(i.layers), ".tar")))
	if err != nil {
		return "", err
	}
	err = archive.WriteDiff(ctx, f, before, i.in("directory"))
	return f.Name(), errors.Join(err, f.Close())
}
