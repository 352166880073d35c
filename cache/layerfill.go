package cache

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// A LayerFill takes the plain bytes of a layer in order, while a pass makes its index.
// It is for one goroutine, and is closed whatever comes of the pass.
//
// A disk never fails it: from the first byte that cannot be kept, bytes are dropped.
// Whoever needs them makes them by the index.
type LayerFill struct {
	layer *Layer
	size  int64 // that came
	file  *os.File
	w     *plainWriter
	over  bool // no more is kept
}

// A filledBytes is plain bytes and their map, written under other names.
type filledBytes struct{ plain, mapping string }

// Fill begins to keep the layer: of a pass over all of it.
func (l *Layer) Fill() *LayerFill { return &LayerFill{layer: l, over: !l.valid} }

// Write takes the next bytes. There is no error.
func (f *LayerFill) Write(b []byte) (int, error) {
	f.size += int64(len(b))
	if f.over {
		return len(b), nil
	}
	err := f.open()
	if err == nil {
		_, err = f.w.Write(b)
	}
	f.failed(err)
	return len(b), nil
}

// failed ends what is kept where err is not nil.
func (f *LayerFill) failed(err error) {
	if err != nil {
		f.over = true
		f.layer.store.tellUnkept(f.layer.id.Blob, err)
	}
}

// open makes the file. As long as it is open nobody takes it for one that a kill has
// left.
func (f *LayerFill) open() error {
	if f.file != nil {
		return nil
	}
	s := f.layer.store
	err := s.withRoom(func() error {
		file, err := f.layer.create()
		if err != nil {
			return err
		}
		if err := lockShared(file); err != nil {
			return errors.Join(err, os.Remove(file.Name()), file.Close())
		}
		f.file = file
		return nil
	})
	if err != nil {
		return s.onDisk(fmt.Errorf("keep a layer: %w", err))
	}
	f.w = &plainWriter{store: s, file: f.file, fresh: true, left: s.mostPlain()}
	return nil
}

// Keep says that the pass was right: x, its index, and the plain bytes become those of
// the layer. It writes x once or more. An error is one of x, and then nothing is kept;
// that the disk does not take it is none.
func (f *LayerFill) Keep(x io.WriterTo) error {
	l := f.layer
	if err := l.setMark(x); err != nil || !l.valid {
		return err
	}
	index, err := l.writeIndex(x)
	if err != nil {
		return l.untaken(err)
	}
	bytes, err := f.finish()
	if err != nil {
		l.store.tellUnkept(l.id.Blob, err)
	}
	err = l.rename(index, bytes)
	if err != nil && bytes != nil {
		_ = os.Remove(bytes.mapping)
	}
	return l.untaken(err)
}

// finish writes what is left of the bytes, and their map. It returns nil where there
// are none.
func (f *LayerFill) finish() (*filledBytes, error) {
	if f.file == nil {
		return nil, nil
	}
	if !f.over {
		f.failed(f.w.flush())
	}
	l := f.layer
	if err := f.file.Truncate(f.size); err != nil {
		return nil, l.store.onDisk(err)
	}
	content := append(newMapHeader(f.size, *l.mark.Load()).encode(), f.w.records...)
	name := f.file.Name() + mapSuffix
	err := l.store.admit(int64(len(content)))
	if err == nil {
		err = l.store.withRoom(func() error { return os.WriteFile(name, content, 0o600) })
	}
	if err != nil {
		_ = os.Remove(name)
		return nil, l.store.onDisk(fmt.Errorf("write the map of a layer: %w", err))
	}
	return &filledBytes{f.file.Name(), name}, nil
}

// mapSuffix is that of a map that waits for its last name.
const mapSuffix = ".map"

// Close drops what was not kept, and closes what was.
func (f *LayerFill) Close() error {
	f.over = true
	if f.file == nil {
		return nil
	}
	file := f.file
	f.file = nil
	err := file.Close()
	// It has that name still where it was not kept.
	if _, failed := os.Lstat(file.Name()); failed == nil {
		err = errors.Join(err, removeFiles(file.Name()))
		f.layer.leave()
	}
	if err != nil {
		return f.layer.store.onDisk(fmt.Errorf("close %s: %w", filepath.Base(file.Name()), err))
	}
	return nil
}
