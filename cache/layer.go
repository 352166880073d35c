package cache

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A LayerID names what is kept of a layer: Blob is its digest, and TOC that of the
// table of contents which its index was made of, as the manifest has it, or zero where
// the index is of a pass over all of the layer. Two manifests may give one blob
// different tables, and only a pass has seen the blob.
type LayerID struct{ Blob, TOC v1.Hash }

// valid says whether it can be a directory's name.
func (id LayerID) valid() bool {
	return validDigest(id.Blob) && (id.TOC == (v1.Hash{}) || validDigest(id.TOC))
}

// name is the directory of it.
func (id LayerID) name() string {
	if id.TOC == (v1.Hash{}) {
		return id.Blob.Hex
	}
	return id.Blob.Hex + "-" + id.TOC.Hex
}

// layerNamed is what a directory is of.
func layerNamed(name string) (id LayerID, ok bool) {
	blob, toc, isTOC := strings.Cut(name, "-")
	id.Blob = v1.Hash{Algorithm: "sha256", Hex: blob}
	if isTOC {
		id.TOC = v1.Hash{Algorithm: "sha256", Hex: toc}
	}
	return id, id.valid()
}

// The files in the directory of a layer. Plain bytes and map are made, replaced and
// removed together, the map first where it goes: data without a map is nothing, and a
// map without its data would speak of whatever comes in its place.
const (
	indexName = "index" // what is needed to list the layer, and to make its plain bytes again
	plainName = "plain" // the plain bytes, sparse where they are not there
	mapName   = "map"   // which of them are there
)

func layersDir(dir string) string { return filepath.Join(dir, "layers", "sha256") }

// A Layer is what is kept of a layer beside its blob: an index, and the plain bytes
// that the layer holds. It is shared by all repositories, since a blob that has its
// digest has one content, whoever sent it. It is a handle, and safe for concurrent use.
//
// Nothing of it fails for want of a disk: what cannot be kept is told to the log and
// is missing the next time.
type Layer struct {
	store *Store
	id    LayerID
	valid bool // that it can be kept
	dir   string
	mark  atomic.Pointer[layerMark]
}

// Layer returns the handle of a layer. It does nothing.
func (s *Store) Layer(id LayerID) *Layer {
	l := &Layer{store: s, id: id, valid: id.valid(), dir: filepath.Join(layersDir(s.dir), id.name())}
	if id.TOC == (v1.Hash{}) {
		l.mark.Store(new(layerMark))
	}
	return l
}

// A layerMark says what the plain bytes of a layer are in order of. Those of a pass
// are the archive, and it is zero. Those of a table of contents follow from the index:
// it is the SHA-256 of that, so that another version of this program, which puts
// them in another order, does not take ours for its own.
type layerMark [sha256.Size]byte

// indexBuffer is how many bytes of an index are written at once. What is longer goes past
// it; an image of many layers has as many indexes at the same moment, of two kilobytes each
// where they were tables of contents, and their buffers would cost more than to write them.
const indexBuffer = 32 << 10

// indexTrailer ends the file of an index: magic, then a CRC32C of all before it.
const (
	indexMagic   = "ocidlidx"
	indexTrailer = len(indexMagic) + 4
)

// Index returns the index that is kept, which the caller may keep and change. The
// error is [iofs.ErrNotExist] where there is none, or none that can be read.
func (l *Layer) Index() ([]byte, error) {
	if !l.valid {
		return nil, fmt.Errorf("layer %s: not a sha256 digest: %w", l.id.Blob, iofs.ErrNotExist)
	}
	path := filepath.Join(l.dir, indexName)
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		err = fmt.Errorf("%w: %w", iofs.ErrNotExist, l.store.onDisk(err))
	}
	if err == nil {
		b, err = withoutTrailer(b)
	}
	if err != nil {
		return nil, fmt.Errorf("index of layer %s: %w", l.id.Blob, err)
	}
	l.store.use(path)
	if l.id.TOC != (v1.Hash{}) {
		mark := layerMark(sha256.Sum256(b))
		l.mark.Store(&mark)
	}
	return b, nil
}

// withoutTrailer returns the index in a file of one.
func withoutTrailer(b []byte) ([]byte, error) {
	n := len(b) - indexTrailer
	if n < 0 || !bytes.HasPrefix(b[n:], []byte(indexMagic)) || sum(b[:len(b)-4]) != binary.BigEndian.Uint32(b[len(b)-4:]) {
		return nil, errDamaged
	}
	return b[:n:n], nil
}

// DropIndex removes the index, which turned out to be of no use.
func (l *Layer) DropIndex() error {
	if !l.valid {
		return nil
	}
	unlock, err := l.store.lockState(l.id.Blob)
	if err == nil {
		defer unlock()
		err = removeFiles(filepath.Join(l.dir, indexName))
		_ = os.Remove(l.dir) // which something else is in, most often
	}
	if err != nil {
		return fmt.Errorf("drop the index of layer %s: %w", l.id.Blob, l.store.onDisk(err))
	}
	return nil
}

// PutIndex keeps an index without plain bytes: of a table of contents. It writes x
// more than once. An error is one of x; that the disk does not take it is none.
func (l *Layer) PutIndex(x io.WriterTo) error {
	if err := l.setMark(x); err != nil || !l.valid {
		return err
	}
	written, err := l.writeIndex(x)
	if err == nil {
		err = l.rename(written, nil)
	}
	return l.untaken(err)
}

// setMark takes note of the index that the plain bytes follow from.
func (l *Layer) setMark(x io.WriterTo) error {
	if l.id.TOC == (v1.Hash{}) {
		return nil
	}
	h := sha256.New()
	if _, err := x.WriteTo(h); err != nil {
		return fmt.Errorf("index of layer %s: %w", l.id.Blob, err)
	}
	mark := layerMark(h.Sum(nil))
	l.mark.Store(&mark)
	return nil
}

// untaken tells the log what the disk did not take, and returns any other error.
func (l *Layer) untaken(err error) error {
	if err == nil || !isDisk(err) {
		return err
	}
	l.store.tellUnkept(l.id.Blob, err)
	return nil
}

// create makes a file under another name, in the directory of the layer, which it makes.
func (l *Layer) create() (*os.File, error) {
	for tries := 0; ; tries++ {
		err := l.store.remake()
		if err == nil {
			err = os.MkdirAll(l.dir, 0o700)
		}
		var file *os.File
		if err == nil {
			file, err = os.CreateTemp(l.dir, unfinished+"*")
		}
		if tries == 0 && errors.Is(err, iofs.ErrNotExist) {
			continue // the directory was cleared in between
		}
		return file, err
	}
}

// leave removes the directory if nothing is in it. Who makes it beside this holds the
// state of the layer, or looks again.
func (l *Layer) leave() {
	if unlock, err := l.store.lockState(l.id.Blob); err == nil {
		defer unlock()
		_ = os.Remove(l.dir) // which something else is in, perhaps
	}
}

// writeIndex writes a file of an index under another name, which it returns.
func (l *Layer) writeIndex(x io.WriterTo) (name string, err error) {
	var failed error // of x
	err = l.store.withRoom(func() error {
		name, failed, err = l.tryIndex(x)
		if failed != nil {
			return nil //nolint:nilerr // it is none of the disk
		}
		return err
	})
	if failed != nil {
		return "", fmt.Errorf("index of layer %s: %w", l.id.Blob, failed)
	}
	if err != nil {
		return "", l.store.onDisk(fmt.Errorf("write the index of a layer: %w", err))
	}
	return name, nil
}

// tryIndex does that once. failed is an error of x, and err one of the disk.
func (l *Layer) tryIndex(x io.WriterTo) (name string, failed, err error) {
	file, err := l.create()
	if err != nil {
		return "", nil, err
	}
	w := &indexWriter{store: l.store, to: file}
	buffered := bufio.NewWriterSize(w, indexBuffer)
	_, failed = x.WriteTo(buffered)
	if failed == nil {
		_, _ = buffered.WriteString(indexMagic) // an error stays with the writer
		_ = buffered.Flush()
	}
	if w.err != nil {
		failed = nil
	}
	err = w.err
	if err == nil && failed == nil {
		_, err = file.Write(binary.BigEndian.AppendUint32(nil, w.crc))
	}
	err = errors.Join(err, file.Chmod(0o400), file.Close())
	if err != nil || failed != nil {
		_ = os.Remove(file.Name())
	}
	return file.Name(), failed, err
}

// An indexWriter writes to a file, and knows what that failed with.
type indexWriter struct {
	store *Store
	to    *os.File
	crc   uint32
	err   error
}

func (w *indexWriter) Write(b []byte) (n int, err error) {
	if w.err == nil {
		w.err = w.store.admit(int64(len(b)))
	}
	if w.err == nil {
		n, w.err = w.to.Write(b)
	}
	w.crc = crc32.Update(w.crc, castagnoli, b[:n])
	return n, w.err
}

// rename gives files that were written their last names, in this order:
//
//  1. remove the map that there is
//  2. rename the plain bytes, and then their map
//  3. rename the index
//
// A kill in between leaves an index or none, and plain bytes that the index before it
// is as good for. bytes are nil where there are none.
func (l *Layer) rename(index string, bytes *filledBytes) error {
	err := l.renameLocked(index, bytes)
	if err != nil {
		_ = os.Remove(index)
		return l.store.onDisk(fmt.Errorf("keep a layer: %w", err))
	}
	return nil
}

func (l *Layer) renameLocked(index string, bytes *filledBytes) error {
	unlock, err := l.store.lockState(l.id.Blob)
	if err != nil {
		return err
	}
	defer unlock()
	if bytes != nil {
		if err := removeFiles(filepath.Join(l.dir, mapName)); err != nil {
			return err
		}
		if err := os.Rename(bytes.plain, filepath.Join(l.dir, plainName)); err != nil {
			return err
		}
		if err := os.Rename(bytes.mapping, filepath.Join(l.dir, mapName)); err != nil {
			return err
		}
	}
	return os.Rename(index, filepath.Join(l.dir, indexName))
}
