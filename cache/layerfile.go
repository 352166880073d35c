package cache

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
)

// A plainFile is the open plain bytes of a layer and their map.
type plainFile struct {
	header  mapHeader
	data    *os.File
	mapping *os.File
	most    int64 // bytes of disk that data may take
	read    int64 // bytes of the map; guarded by plainContent.changing

	pieces plainPieces // guarded by plainContent.mu
	// Pieces were checked while the change time of data was this.
	ctime int64 // guarded by plainContent.mu
}

func (f *plainFile) close() error { return errors.Join(f.mapping.Close(), f.data.Close()) }

func (c *plainContent) dataPath() string { return filepath.Join(c.dir, plainName) }
func (c *plainContent) mapPath() string  { return filepath.Join(c.dir, mapName) }

// openFile opens what is on disk, and takes the lock that keeps the evictor away. It
// is nil where there is nothing, or what there is belongs to another index: of another
// version of this program, for instance. c.changing is held.
func (c *plainContent) openFile() (*plainFile, error) {
	for range maxHeals {
		f, err := c.openOnce()
		if f == nil || err != nil {
			return nil, err
		}
		if isAt(f.data, c.dataPath()) && isAt(f.mapping, c.mapPath()) {
			c.store.use(c.mapPath())
			return f, c.refresh(f)
		}
		// It was evicted or replaced in between.
		if err := f.close(); err != nil {
			return nil, err
		}
	}
	return nil, errUnsound
}

func (c *plainContent) openOnce() (f *plainFile, err error) {
	f = &plainFile{read: layerMapHeader, most: c.store.mostPlain()}
	if f.mapping, err = openEither(c.mapPath(), os.O_APPEND); err != nil {
		return nil, noFile(err)
	}
	var ok bool
	if f.header, ok = readMapHeader(f.mapping); !ok || f.header.size != c.key.size || f.header.mark != c.key.mark {
		return nil, f.mapping.Close()
	}
	if f.data, err = openEither(c.dataPath(), 0); err != nil {
		return nil, errors.Join(noFile(err), f.mapping.Close())
	}
	if err := lockShared(f.data); err != nil {
		return nil, errors.Join(err, f.close())
	}
	if known := c.before; known != nil && known.header == f.header {
		c.mu.Lock()
		f.pieces, f.ctime, f.read = known.pieces, known.ctime, known.read
		c.mu.Unlock()
	}
	c.before = nil
	return f, nil
}

// openEither opens a file to be read and written or, where that cannot be, to be read.
func openEither(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|flags, 0)
	if err == nil || errors.Is(err, iofs.ErrNotExist) {
		return f, err
	}
	return os.Open(path)
}

// noFile is the error of opening a file, to which one that does not exist is none.
func noFile(err error) error {
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	return err
}

// refresh takes over what the map has by now, of this process and others. c.changing
// is held.
func (c *plainContent) refresh(f *plainFile) (err error) {
	f.read, err = readPieces(f.mapping, f.read, func(found []foundPiece) {
		c.mu.Lock()
		defer c.mu.Unlock()
		for _, p := range found {
			f.pieces.add(p.off, p.n, p.crc, c.key.size)
		}
	})
	return err
}

// create makes the files anew, in the place of what there is and is of no use.
// c.changing is held.
func (c *plainContent) create() (*plainFile, error) {
	unlock, err := c.store.lockState(c.key.id.Blob)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return nil, err
	}
	if f, err := c.openFile(); f != nil || err != nil {
		return f, err // another was first
	}
	if err := removeFiles(c.mapPath(), c.dataPath()); err != nil {
		return nil, err
	}
	data, err := os.OpenFile(c.dataPath(), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = errors.Join(data.Truncate(c.key.size), data.Close())
	if err == nil {
		err = writeFile(c.mapPath(), newMapHeader(c.key.size, c.key.mark).encode(), 0o600)
	}
	if err != nil {
		return nil, err
	}
	return c.openFile()
}

// writable returns the files that spans are written to: those that the directory has
// now, made if need be.
func (c *plainContent) writable() (f *plainFile, err error) {
	c.changing.Lock()
	defer c.changing.Unlock()
	if f = c.current(); f != nil && isAt(f.mapping, c.mapPath()) {
		return f, c.refresh(f)
	}
	err = c.store.withRoom(func() error {
		if err := c.store.remake(); err != nil {
			return err
		}
		if f, err = c.openFile(); f == nil && err == nil {
			f, err = c.create()
		}
		return err
	})
	if err == nil && f == nil {
		err = fmt.Errorf("%w: the map of a layer", errUnsound)
	}
	if err != nil {
		return nil, err
	}
	return f, c.replace(f)
}

// replace makes f, which may be nil, what readers have. Those who are at the old one
// find it closed, and look again. c.changing is held.
func (c *plainContent) replace(f *plainFile) error {
	c.mu.Lock()
	old := c.file
	c.file, c.looked = f, true
	c.mu.Unlock()
	if old == nil {
		return nil
	}
	return old.close()
}

// current is what readers have, nil where nothing is open.
func (c *plainContent) current() *plainFile {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.file
}
