package tree

import (
	"context"
	"io"
	iofs "io/fs"
	"iter"
	"path"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// fsys shows what is below a directory as an io/fs.FS.
type fsys struct {
	ctx  context.Context
	tree *Tree
	top  string
}

var _ iofs.FS = fsys{}

func (s fsys) Open(name string) (iofs.File, error) {
	if !iofs.ValidPath(name) {
		return nil, &iofs.PathError{Op: "open", Path: name, Err: iofs.ErrInvalid}
	}
	child, err := walk(s.ctx, s.tree, path.Join(s.top, name))
	if err != nil {
		return nil, &iofs.PathError{Op: "open", Path: name, Err: err}
	}
	attr, err := child.Node.Attr(s.ctx)
	if err != nil {
		return nil, &iofs.PathError{Op: "stat", Path: name, Err: err}
	}
	stat := fileStat{path.Base(name), attr}
	switch node := child.Node.(type) {
	case Dir:
		next, stop := iter.Pull2(node.List(s.ctx))
		return &fsysDir{stat, s, name, next, stop}, nil
	case File:
		open, err := node.Open(s.ctx)
		if err != nil {
			return nil, &iofs.PathError{Op: "open", Path: name, Err: err}
		}
		return &fsysFile{io.NewSectionReader(readerAt{s.ctx, open}, 0, open.Size()), stat, open}, nil
	case Link:
		// What is there may not exist.
		return &fsysFile{io.NewSectionReader(strings.NewReader(""), 0, 0), stat, OpenBytes(nil)}, nil
	}
	return nil, &iofs.PathError{Op: "open", Path: name, Err: iofs.ErrInvalid}
}

type fileStat struct {
	name string
	attr Attr
}

func (s fileStat) Name() string        { return s.name }
func (s fileStat) Size() int64         { return s.attr.Size }
func (s fileStat) Mode() iofs.FileMode { return s.attr.Mode }
func (s fileStat) ModTime() time.Time  { return s.attr.ModTime }
func (s fileStat) IsDir() bool         { return s.attr.Mode.IsDir() }
func (s fileStat) Sys() any            { return s.attr.Ino }

type fsysFile struct {
	*io.SectionReader
	stat fileStat
	open OpenFile
}

func (f *fsysFile) Stat() (iofs.FileInfo, error) { return f.stat, nil }
func (f *fsysFile) Close() error                 { return f.open.Close() }

type fsysDir struct {
	stat fileStat
	fsys fsys
	name string
	next func() (Entry, error, bool)
	stop func()
}

func (d *fsysDir) Stat() (iofs.FileInfo, error) { return d.stat, nil }

func (d *fsysDir) Read([]byte) (int, error) {
	return 0, &iofs.PathError{Op: "read", Path: d.name, Err: iofs.ErrInvalid}
}

func (d *fsysDir) Close() error {
	d.stop()
	return nil
}

func (d *fsysDir) ReadDir(n int) ([]iofs.DirEntry, error) {
	var entries []iofs.DirEntry
	for n <= 0 || len(entries) < n {
		e, err, ok := d.next()
		switch {
		case err != nil:
			return entries, err
		case !ok && n > 0 && len(entries) == 0:
			return nil, io.EOF
		case !ok:
			return entries, nil
		}
		entries = append(entries, dirEntryOf{d, e})
	}
	return entries, nil
}

// dirEntryOf is an entry of a listing; what else there is to know is looked up.
type dirEntryOf struct {
	dir   *fsysDir
	entry Entry
}

func (e dirEntryOf) Name() string        { return e.entry.Name }
func (e dirEntryOf) IsDir() bool         { return e.entry.Mode.IsDir() }
func (e dirEntryOf) Type() iofs.FileMode { return e.entry.Mode }

func (e dirEntryOf) Info() (iofs.FileInfo, error) {
	return iofs.Stat(e.dir.fsys, path.Join(e.dir.name, e.entry.Name))
}

func TestFS(t *testing.T) {
	f := newFixture(t, registrytest.Options{PageSize: 2})
	image := f.push("library/image", "1", 1)
	f.server.Tag("library/image", "latest", image)
	f.push("library/image", "3", 3)
	f.push("tags/of/tags", "tags", 4)
	f.pushIndex("index", "1", registrytest.ImageSpec{Layers: []int64{10, 20, 10}}, registrytest.ImageSpec{Architecture: "arm64"})
	f.pushIndex("foreign", "1", registrytest.ImageSpec{Architecture: "s390x"})
	f.server.PutBlob("artifact", []byte("{}"))
	f.server.PutManifest("artifact", "1", types.OCIManifestSchema1, manifestFor(descriptor("application/vnd.example+json", "{}", 2), "[]"))
	// Repositories and digests are listed once they were used.
	for _, path := range []string{
		"library/image/tags/1/digest", "library/image/tags/3/digest", "t%61gs/of/t%61gs/tags/tags/digest", "index/tags/1/resolved-digest",
		"foreign/tags/1/digest", "artifact/tags/1/digest",
	} {
		f.read(path)
	}
	top := f.path("")
	fsys := fsys{t.Context(), f.tree, top}
	// Until all was looked into, digests/ grows.
	if err := iofs.WalkDir(fsys, ".", func(_ string, _ iofs.DirEntry, err error) error { return err }); err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(fsys,
		"library/image/tags/1/image.tar", "library/image/tags/latest/digest", "library/image/digests/"+image.String()+"/image.tar",
		"t%61gs/of/t%61gs/tags/tags/image.tar", "index/tags/1/resolved-manifest.json", "index/tags/1/image.tar",
		"foreign/tags/1/manifest.json", "artifact/tags/1/resolved-digest",
	); err != nil {
		t.Error(err)
	}

	// TestFS knows no inode numbers.
	seen := map[any]string{}
	err := iofs.WalkDir(fsys, ".", func(path string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		if listed, ok := e.(dirEntryOf); ok && listed.entry.Ino != info.Sys() {
			t.Errorf("%s is listed as inode %d, and is %d", path, listed.entry.Ino, info.Sys())
		}
		if other, ok := seen[info.Sys()]; ok && e.IsDir() {
			t.Errorf("%s and %s are one directory", path, other)
		}
		seen[info.Sys()] = path
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
