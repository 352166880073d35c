package cache

import (
	"os"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The stamp of a whole blob says that its file is as it was when its digest was
// checked, whichever process did that: the modification time of its sums is the
// change time of the file, and a shift that no file has by chance. Nobody can
// write to a file, rename it or change its mode without moving its change time.
// Blobs whose bytes are handed out unchecked have to have it; others are checked
// chunk by chunk.

// stampShift is that shift, to the past.
const stampShift = 20 * 365 * 24 * time.Hour

func stampOf(ctime int64) time.Time { return time.Unix(0, ctime).Add(-stampShift) }

// stamp sets the stamp of a file that was just verified and has its last name
// and mode. Where it fails, there is none.
func (s *Store) stamp(d v1.Hash, blob *os.File) {
	if ctime := changeTime(blob); ctime != 0 {
		_ = os.Chtimes(s.sumsPath(d), time.Time{}, stampOf(ctime))
	}
}

// stamped says whether an open blob has its stamp.
func (s *Store) stamped(d v1.Hash, blob *os.File) bool {
	sums, err := os.Lstat(s.sumsPath(d))
	if err != nil {
		return false
	}
	ctime := changeTime(blob)
	return ctime != 0 && sums.ModTime().Equal(stampOf(ctime))
}
