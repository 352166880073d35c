package cache

// Room is how large a cache directory may be, and how much of its disk is free.
type Room struct {
	MaxBytes  int64 `json:"maxBytes"`     // [Options.MaxBytes]; 0 is no limit
	LeastFree int64 `json:"minFreeBytes"` // what [Options.MinFree] comes to there
	Free      int64 `json:"freeBytes"`    // of the file system, for who is not root
}

// Room looks at the disk, and at nothing that is in the directory. Of one that is not
// there only MaxBytes is known.
func (s *Store) Room() Room {
	r := Room{MaxBytes: max(s.opts.MaxBytes, 0)}
	free, size, err := diskOf(s.dir)
	if err != nil {
		return r
	}
	r.Free, r.LeastFree = free, max(leastFree(s.opts.MinFree, size), 0)
	return r
}
