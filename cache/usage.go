package cache

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Usage is what a cache directory takes on disk.
type Usage struct {
	Blobs        int   `json:"blobs"` // that are whole
	BlobBytes    int64 `json:"blobBytes"`
	Partial      int   `json:"partialBlobs"`
	PartialBytes int64 `json:"partialBytes"` // of what has arrived, and of the maps of it
	Layers       int   `json:"layers"`       // that have an index
	IndexBytes   int64 `json:"indexBytes"`   // of the indexes
	PlainBytes   int64 `json:"plainBytes"`   // of layers, that are there, and of the maps of them
}

// UsageOf looks at a cache directory without opening it. What disappears meanwhile
// counts or does not.
func UsageOf(dir string) (Usage, error) {
	var u Usage
	err := eachFile(filepath.Join(dir, "blobs", "sha256"), func(_ string, size int64) {
		u.Blobs++
		u.BlobBytes += size
	})
	if err != nil {
		return u, err
	}
	repositories, err := readDir(filepath.Join(dir, "partial"))
	for _, r := range repositories {
		err = errors.Join(err, eachFile(filepath.Join(dir, "partial", r.Name()), func(name string, size int64) {
			if validHex(name) { // beside it is its map
				u.Partial++
			}
			u.PartialBytes += size
		}))
	}
	layers, failed := layerItems(dir)
	for _, it := range layers {
		if it.part == layerIndex {
			u.Layers++
			u.IndexBytes += it.bytes
			continue
		}
		u.PlainBytes += it.bytes
	}
	return u, errors.Join(err, failed)
}

// Kept is how many bytes of a blob are on disk, 0 where that cannot be known. It opens
// nothing.
func (r *Repository) Kept(d v1.Hash) int64 {
	if !validDigest(d) {
		return 0
	}
	for _, path := range []string{r.store.blobPath(d), r.store.partialPath(r.name, d)} {
		if info, err := os.Stat(path); err == nil {
			return bytesOnDisk(info)
		}
	}
	return 0
}

// eachFile calls add for each file in a directory with the bytes that it takes:
// partial ones have holes.
func eachFile(dir string, add func(name string, size int64)) error {
	entries, err := readDir(dir)
	for _, e := range entries {
		info, err := e.Info()
		switch {
		case errors.Is(err, iofs.ErrNotExist):
		case err != nil:
			return err
		case info.Mode().IsRegular():
			add(e.Name(), bytesOnDisk(info))
		}
	}
	return err
}

func bytesOnDisk(info os.FileInfo) int64 {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.Size()
	}
	return min(stat.Blocks*512, info.Size())
}
