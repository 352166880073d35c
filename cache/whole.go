package cache

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
)

// sumsMagic begins a file of sums: magic, size of the blob, a CRC32C for each
// chunk, and one of all that.
const sumsMagic = "ocidsum1"

func encodeSums(size int64, sums []uint32) []byte {
	b := binary.BigEndian.AppendUint64([]byte(sumsMagic), uint64(size))
	for _, s := range sums {
		b = binary.BigEndian.AppendUint32(b, s)
	}
	return binary.BigEndian.AppendUint32(b, sum(b))
}

// decodeSums returns the sums of a blob of size bytes, or nil where b is damaged.
func decodeSums(b []byte, size int64) []uint32 {
	n := chunksOf(size)
	if len(b) != 16+4*n+4 || string(b[:8]) != sumsMagic || int64(binary.BigEndian.Uint64(b[8:])) != size {
		return nil
	}
	body := b[:len(b)-4]
	if sum(body) != binary.BigEndian.Uint32(b[len(body):]) {
		return nil
	}
	sums := make([]uint32, n)
	for i := range sums {
		sums[i] = binary.BigEndian.Uint32(body[16+4*i:])
	}
	return sums
}

// openWhole opens the verified file of the blob if there is one. A file of
// another size is damage, and removed; sums that are lost are made anew from a
// file that still has its digest.
func (c *content) openWhole() (bool, error) {
	f, err := os.Open(c.store.blobPath(c.key.digest))
	if errors.Is(err, iofs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// The evictor takes this lock exclusively, or leaves the blob alone.
	if err := lockShared(f); err != nil {
		return false, errors.Join(err, f.Close())
	}
	info, err := f.Stat()
	if err != nil {
		return false, errors.Join(err, f.Close())
	}
	if info.Size() != c.key.size {
		return false, errors.Join(c.removeWhole(f), f.Close())
	}
	b, err := os.ReadFile(c.store.sumsPath(c.key.digest))
	if err != nil && !errors.Is(err, iofs.ErrNotExist) {
		return false, errors.Join(err, f.Close())
	}
	sums := decodeSums(b, c.key.size)
	if sums == nil {
		if sums, err = c.sumsOf(f); err != nil {
			return false, errors.Join(err, f.Close())
		}
		if sums == nil {
			return false, errors.Join(c.removeWhole(f), f.Close())
		}
	}
	c.adopt(f, sums)
	return true, nil
}

// adopt makes f, which is verified, the content's file. c.mu is held, or nobody
// else has c.
func (c *content) adopt(f *os.File, sums []uint32) {
	c.reset()
	c.file, c.sums, c.missing = f, sums, 0
	for i := range sums {
		c.present.set(i)
	}
	c.ctime = changeTime(f)
}

// sumsOf reads a whole file and returns its sums, and keeps them; nil where its
// digest is not the blob's.
func (c *content) sumsOf(f *os.File) ([]uint32, error) {
	h := sha256.New()
	sums := make([]uint32, 0, chunksOf(c.key.size))
	b := make([]byte, chunkSize)
	in := io.NewSectionReader(f, 0, c.key.size)
	for i := range cap(sums) {
		chunk := b[:chunkLen(i, c.key.size)]
		if _, err := io.ReadFull(in, chunk); err != nil {
			return nil, err
		}
		h.Write(chunk)
		sums = append(sums, sum(chunk))
	}
	if hex.EncodeToString(h.Sum(nil)) != c.key.digest.Hex {
		return nil, nil
	}
	return sums, writeFile(c.store.sumsPath(c.key.digest), encodeSums(c.key.size, sums), 0o400)
}

// removeWhole removes the verified file, if it is still f.
func (c *content) removeWhole(f *os.File) error {
	unlock, err := c.store.lockState(c.key.digest)
	if err != nil {
		return err
	}
	defer unlock()
	path := c.store.blobPath(c.key.digest)
	if !isAt(f, path) {
		return nil
	}
	err = os.Remove(path)
	if sums := os.Remove(c.store.sumsPath(c.key.digest)); sums != nil && !errors.Is(sums, iofs.ErrNotExist) {
		err = errors.Join(err, sums)
	}
	return err
}

// demote makes a blob whose verified file is damaged a partial one, with nothing
// there: whoever reads it fetches it again.
func (c *content) demote(file *os.File) error {
	if err := c.removeWhole(file); err != nil {
		return fmt.Errorf("remove a damaged blob: %w", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != file {
		return nil // another reader was first
	}
	if err := c.openPartial(); err != nil {
		return err
	}
	// Readers who are at it hold the old file by value; it is closed when the
	// last of them has gone, by the finalizer that os.File has.
	c.wake()
	return nil
}

// changedOnDisk says whether the whole file's change time is another than when
// its chunks were checked, and takes note of the new one.
func (c *content) changedOnDisk(file *os.File) bool {
	now := changeTime(file)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.file != file || now == c.ctime {
		return false
	}
	c.ctime = now
	return true
}

// isAt says whether path names the open file f.
func isAt(f *os.File, path string) bool {
	opened, err := f.Stat()
	if err != nil {
		return false
	}
	named, err := os.Lstat(path)
	return err == nil && os.SameFile(opened, named)
}
