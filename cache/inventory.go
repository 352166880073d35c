package cache

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// An item is what can be removed from a cache directory by itself.
type item struct {
	digest v1.Hash
	data   string // path of its bytes
	beside string // path of the sums of a whole blob, or of a map
	// partial is a blob that is not whole.
	partial bool
	// stray are sums or a map that a kill left without their data.
	stray bool
	// part is what it is of the layer; noLayer is a blob.
	part  layerPart
	layer LayerID
	bytes int64     // that it takes on disk, with what is beside it
	used  time.Time // when it was opened last, about
}

// inventory lists what is in a cache directory. What disappears meanwhile is in it
// or not.
func inventory(dir string) ([]item, error) {
	blobs, sums := filepath.Join(dir, "blobs", "sha256"), filepath.Join(dir, "sums", "sha256")
	items, err := itemsIn(blobs, func(name string) string { return filepath.Join(sums, name) }, false)
	if err != nil {
		return nil, err
	}
	kept, err := readDir(sums)
	if err != nil {
		return nil, err
	}
	items = append(items, strays(kept, func(name string) (data, beside string) {
		return filepath.Join(blobs, name), filepath.Join(sums, name)
	}, "")...)
	repositories, err := readDir(filepath.Join(dir, "partial"))
	if err != nil {
		return nil, err
	}
	for _, r := range repositories {
		sub := filepath.Join(dir, "partial", r.Name())
		some, err := itemsIn(sub, func(name string) string { return filepath.Join(sub, name+".map") }, true)
		if err != nil {
			continue // a file that is none of ours
		}
		items = append(items, some...)
		kept, _ := readDir(sub)
		items = append(items, strays(kept, func(name string) (data, beside string) {
			return filepath.Join(sub, name), filepath.Join(sub, name+".map")
		}, ".map")...)
	}
	layers, err := layerItems(dir)
	return append(items, layers...), err
}

// itemsIn lists the blobs in one directory.
func itemsIn(dir string, beside func(name string) string, partial bool) ([]item, error) {
	entries, err := readDir(dir)
	if err != nil {
		return nil, err
	}
	items := make([]item, 0, len(entries))
	for _, e := range entries {
		if !validHex(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		info, err := e.Info()
		if err != nil {
			continue // it is gone
		}
		it := item{
			digest: v1.Hash{Algorithm: "sha256", Hex: e.Name()},
			data:   filepath.Join(dir, e.Name()), beside: beside(e.Name()),
			partial: partial, bytes: bytesOnDisk(info), used: info.ModTime(),
		}
		if info, err := os.Lstat(it.beside); err == nil {
			it.bytes += bytesOnDisk(info)
			it.used = useTime(info, partial)
		}
		items = append(items, it)
	}
	return items, nil
}

// strays lists the files that are beside nothing.
func strays(entries []iofs.DirEntry, paths func(name string) (data, beside string), suffix string) []item {
	var items []item
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), suffix)
		if !ok || !validHex(name) {
			continue
		}
		data, beside := paths(name)
		if _, err := os.Lstat(data); !errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		it := item{digest: v1.Hash{Algorithm: "sha256", Hex: name}, data: data, beside: beside, stray: true}
		if info, err := os.Lstat(beside); err == nil {
			it.bytes = bytesOnDisk(info)
		}
		items = append(items, it)
	}
	return items
}

// bytesOf is what items take on disk.
func bytesOf(items []item) int64 {
	total := int64(0)
	for _, it := range items {
		total += it.bytes
	}
	return total
}

// usedEvery is how exactly the time of the last use is known.
const usedEvery = time.Minute

// useTime is when a blob was used last. It is the access time of the file beside
// its data, which the store sets: file systems may keep none by themselves, and
// that of the data would move the change time by which a whole blob is known to be
// as it was. A map is written to while its blob is fetched, which is use too; the
// modification time of sums is a stamp.
func useTime(beside os.FileInfo, partial bool) time.Time {
	used := accessTime(beside)
	if partial && beside.ModTime().After(used) {
		used = beside.ModTime()
	}
	return used
}

// use takes note that a blob is used now, for other processes and those to come.
// Where it fails the blob counts as used before, nothing else.
func (s *Store) use(beside string) {
	info, err := os.Lstat(beside)
	if err != nil {
		return
	}
	if now := s.opts.Now(); now.Sub(accessTime(info)).Abs() >= usedEvery {
		_ = os.Chtimes(beside, now, time.Time{})
	}
}
