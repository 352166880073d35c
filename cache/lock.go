package cache

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	iofs "io/fs"
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// lockState locks a blob's state on disk, in all processes: it is held while the
// blob is created, completed or dropped, never while bytes are fetched. Where
// the directory was removed it is made again.
func (s *Store) lockState(d v1.Hash) (unlock func(), err error) {
	b, err := hex.DecodeString(d.Hex[:16])
	if err != nil {
		return nil, err
	}
	// Two digests that begin alike wait for each other, which harms nobody.
	at := int64(binary.BigEndian.Uint64(b) >> 2)
	path := filepath.Join(s.dir, "lock")
	unlock, err = lockExclusive(path, at)
	if errors.Is(err, iofs.ErrNotExist) {
		if err := prepare(s.dir); err != nil {
			return nil, err
		}
		unlock, err = lockExclusive(path, at)
	}
	return unlock, err
}
