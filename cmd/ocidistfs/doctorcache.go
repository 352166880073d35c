package main

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"

	"github.com/ocidistfs/ocidistfs/cache"
)

// cache looks at the cache directory. One that does not exist yet is judged by
// the directory that it would be made in, and is not made.
func (d *doctor) cache() error {
	dir, err := cacheDir(d.cacheDir)
	if err != nil {
		return err
	}
	about := "cache directory " + dir
	at, err := existing(dir)
	if err != nil {
		d.add(broken(about, err.Error(), otherCache))
		return nil
	}
	if at == dir {
		// It says whether it is one, and can be used, as a mount would.
		store, err := cache.Open(dir, cache.Options{})
		if err == nil {
			err = store.Close()
		}
		if err != nil {
			d.add(broken(about, err.Error(), otherCache))
			return nil
		}
	}
	probe, err := os.MkdirTemp(at, ".new-doctor-")
	if err != nil {
		d.add(broken(about, "it cannot be written to: "+err.Error(), otherCache))
		return nil
	}
	defer func() { _ = os.RemoveAll(probe) }() // who cleans the cache takes what is left
	text := "it can be written to"
	if at != dir {
		text = fmt.Sprintf("it is not there yet, and can be made in %s", at)
	}
	if usage, err := cache.UsageOf(dir); err == nil && usage.Blobs+usage.Partial > 0 {
		text += fmt.Sprintf("; %d whole blobs (%s), %d partial", usage.Blobs, size(usage.BlobBytes), usage.Partial)
	}
	d.add(sound(about, "%s", text))
	for _, f := range diskFindings(about, probe) {
		d.add(f)
	}
	return nil
}

// otherCache is the way out of a cache directory that is of no use.
const otherCache = "--cache-dir names another"

// existing is the directory, or the nearest one above it that exists.
func existing(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s is not a directory", dir)
		case err == nil:
			return dir, nil
		case !errors.Is(err, iofs.ErrNotExist) || dir == filepath.Dir(dir):
			return "", err
		}
		dir = filepath.Dir(dir)
	}
}
