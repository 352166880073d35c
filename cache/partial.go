package cache

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
)

// openPartial opens or makes the partial file of the blob and its map, and reads
// what is there. c.mu is held, or nobody else has c.
func (c *content) openPartial() error {
	unlock, err := c.store.lockState(c.key.digest)
	if err != nil {
		return err
	}
	defer unlock()
	path := c.store.partialPath(c.key.repository, c.key.digest)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	mapping, err := os.OpenFile(path+".map", os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if err := c.load(file, mapping); err != nil {
		return errors.Join(err, file.Close(), mapping.Close())
	}
	return nil
}

// load reads the map of a partial file. A file that is not as long as the blob
// was never begun, or is one of another size: nothing of it counts.
func (c *content) load(file, mapping *os.File) error {
	if err := lockShared(file); err != nil {
		return err
	}
	info, err := file.Stat()
	if err != nil {
		return err
	}
	c.reset()
	c.file, c.mapping = file, mapping
	if info.Size() != c.key.size {
		return errors.Join(mapping.Truncate(0), file.Truncate(c.key.size))
	}
	header := make([]byte, headerSize)
	n, _ := mapping.ReadAt(header, 0) // one that cannot be read is like none
	c.hashed, c.digest = decodeHeader(header[:n], c.key.size)
	return c.refresh(0, chunksOf(c.key.size))
}

// refresh takes over what other processes recorded of chunks from up to to. The
// chunk that would complete the blob stays a miss: who fetches it checks the
// digest, which a record cannot stand for. c.mu is held, or nobody else has c.
func (c *content) refresh(from, to int) error {
	return readRecords(c.mapping, from, to, func(i int, crc uint32) {
		if !c.present.has(i) && c.missing > 1 {
			c.present.set(i)
			c.sums[i] = crc
			c.missing--
		}
	})
}

// saveHeader keeps the state of SHA-256 for whoever goes on. c.mu is held and
// nobody is hashing; a failure costs time later, nothing else.
func (c *content) saveHeader() {
	if c.mapping == nil || c.hashing || c.hashed == 0 {
		return
	}
	if b, err := encodeHeader(c.key.size, c.hashed, c.digest); err == nil {
		_, _ = c.mapping.WriteAt(b, 0)
	}
}

// rehash makes SHA-256 begin again. c.mu is held.
func (c *content) rehash() {
	c.digest, c.hashed = sha256.New(), 0
	c.epoch++
}

// seal is called when the last chunk is on disk and shown to nobody: it checks
// the digest and makes the blob whole, or drops it. It is what happens before
// the last bytes are handed out. c.mu is not held, c.sealing is set.
func (c *content) seal() error {
	got, err := c.hashAll()
	if err != nil {
		return err
	}
	if got != c.key.digest.Hex {
		return c.condemn(got)
	}
	return c.publish()
}

// publish moves the verified partial file to the blobs, in this order:
//
//  1. the sums, under another name, then renamed
//  2. chmod the data 0400
//  3. rename the data into place
//  4. remove the map
//
// A crash in between leaves a partial file with its map, or a verified file. No
// sync: data that a crash of the machine loses fails its sums, and is fetched
// again.
func (c *content) publish() error {
	unlock, err := c.store.lockState(c.key.digest)
	if err != nil {
		return err
	}
	defer unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	path := c.store.partialPath(c.key.repository, c.key.digest)
	blob := c.store.blobPath(c.key.digest)
	if isAt(c.file, path) {
		if err := writeFile(c.store.sumsPath(c.key.digest), encodeSums(c.key.size, c.sums), 0o400); err != nil {
			return err
		}
		if err := c.file.Chmod(0o400); err != nil {
			return err
		}
		if err := os.Rename(path, blob); err != nil {
			return err
		}
		if err := os.Remove(path + ".map"); err != nil && !errors.Is(err, iofs.ErrNotExist) {
			return err
		}
	} else if !isAt(c.file, blob) {
		// Another process, which had other bytes, dropped it. These are the right
		// ones, and stay readable through the open file.
		c.store.opts.Logger.Debug("a verified blob was dropped by another process", "digest", c.key.digest.String())
	}
	mapping := c.mapping
	c.mapping = nil
	for i := range c.sums {
		c.present.set(i)
	}
	c.missing = 0
	c.ctime = changeTime(c.file)
	return mapping.Close()
}

// condemn drops a blob that is not what its digest says. Those who read it get
// an error from now on, whoever opens it next begins anew.
func (c *content) condemn(got string) error {
	c.store.counts.mismatches.Add(1)
	err := fmt.Errorf("%w: it is sha256:%s", ErrMismatch, got)
	c.store.opts.Logger.Error("blob dropped", "digest", c.key.digest.String(), "repository", c.key.repository, "error", err)
	c.mu.Lock()
	c.poison = err
	file := c.file
	c.wake()
	c.mu.Unlock()
	c.store.disown(c)
	unlock, lockErr := c.store.lockState(c.key.digest)
	if lockErr != nil {
		return errors.Join(err, lockErr)
	}
	defer unlock()
	path := c.store.partialPath(c.key.repository, c.key.digest)
	if isAt(file, path) {
		// The map first: data without a map is nothing, a map without its data
		// would speak of whatever comes in its place.
		err = errors.Join(err, os.Remove(path+".map"), os.Remove(path))
	}
	return err
}

// hashAll brings SHA-256 to the end of the blob and returns it.
func (c *content) hashAll() (string, error) {
	for {
		c.mu.Lock()
		if !c.hashing {
			break
		}
		changed := c.changed
		c.mu.Unlock()
		<-changed
	}
	c.hashing = true
	c.mu.Unlock()
	err := c.hashUpTo(c.key.size)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hashing = false
	c.wake()
	if err != nil {
		return "", err
	}
	return hex.EncodeToString(c.digest.Sum(nil)), nil
}
