package fs

import (
	"context"
	"encoding/json"
	iofs "io/fs"
	"iter"
	"time"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// statusName is the directory in the root that tells about the mount. It can be
// looked up, and is not listed.
const statusName = ".ocidistfs"

// The files in it.
const (
	errorsFileName = "errors"
	statusFileName = "status.json"
)

// The inode numbers of what only this package shows. The tree's are hashes, so
// that small numbers are free.
const (
	statusIno = 2 + iota
	errorsIno
	statusFileIno
)

// root is the tree's root with the status directory in it.
type root struct {
	tree.Dir
	status tree.Dir
}

func (r root) Lookup(ctx context.Context, name string) (tree.Child, error) {
	if name == statusName {
		return tree.Child{Node: r.status, Lifetime: tree.Forever}, nil
	}
	return r.Dir.Lookup(ctx, name)
}

// Refresh refreshes the tree, where that can be.
func (r root) Refresh(ctx context.Context) error {
	if refresher, ok := r.Dir.(tree.Refresher); ok {
		return refresher.Refresh(ctx)
	}
	return nil
}

// statusDir is `.ocidistfs`.
type statusDir struct {
	started time.Time
	files   map[string]madeFile
	order   []string
}

func newStatusDir(m *mount) statusDir {
	started := time.Now()
	return statusDir{
		started: started,
		order:   []string{errorsFileName, statusFileName},
		files: map[string]madeFile{
			errorsFileName: {errorsIno, m.errors.text},
			statusFileName: {statusFileIno, func() []byte {
				status := struct {
					Mount  any        `json:"mount,omitempty"`
					Errors []logEntry `json:"errors"`
				}{Errors: m.errors.recent()}
				if m.opts.Status != nil {
					status.Mount = m.opts.Status()
				}
				b, err := json.MarshalIndent(status, "", "\t")
				if err != nil {
					return []byte(err.Error() + "\n")
				}
				return append(b, '\n')
			}},
		},
	}
}

func (d statusDir) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{Mode: iofs.ModeDir | 0o555, ModTime: d.started, Ino: statusIno, Lifetime: tree.Forever}, nil
}

func (d statusDir) Lookup(_ context.Context, name string) (tree.Child, error) {
	f, ok := d.files[name]
	if !ok {
		return tree.Child{}, iofs.ErrNotExist
	}
	return tree.Child{Node: f, Lifetime: tree.Forever}, nil
}

func (d statusDir) List(context.Context) iter.Seq2[tree.Entry, error] {
	return func(yield func(tree.Entry, error) bool) {
		for _, name := range d.order {
			if !yield(tree.Entry{Name: name, Ino: d.files[name].ino}, nil) {
				return
			}
		}
	}
}

// madeFile is a file whose bytes are made when it is opened.
type madeFile struct {
	ino  uint64
	make func() []byte
}

var _ tree.File = madeFile{}

func (f madeFile) Attr(context.Context) (tree.Attr, error) {
	// Without a lifetime it is never the page cache's.
	return tree.Attr{Mode: 0o444, Size: int64(len(f.make())), ModTime: time.Now(), Ino: f.ino}, nil
}

func (f madeFile) Open(context.Context) (tree.OpenFile, error) { return tree.OpenBytes(f.make()), nil }
