package cache

import (
	"context"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A layerPart is what an item is of what is kept of a layer.
type layerPart uint8

const (
	noLayer   layerPart = iota // it is a blob
	layerFile                  // a file that is being written, or that a kill left
	layerPlain
	layerIndex
)

// partNames are what parts are called in the answers of Prune and Verify.
var partNames = [...]string{layerPlain: plainName, layerIndex: indexName}

func (p layerPart) String() string { return partNames[p] }

// leftAfter is how long a file in the directory of a layer that has not got its last
// name is left alone where nobody holds a lock on it: an index or a map, which are
// written at once and then wait for the state of the layer at most (maxStateWait).
const leftAfter = 2 * maxStateWait

// layerItems lists what is kept of layers.
func layerItems(dir string) ([]item, error) {
	layers, err := readDir(layersDir(dir))
	if err != nil {
		return nil, err
	}
	var items []item
	for _, l := range layers {
		id, ok := layerNamed(l.Name())
		if !ok {
			continue
		}
		sub := filepath.Join(layersDir(dir), l.Name())
		files, err := readDir(sub)
		if err != nil {
			continue // a file that is none of ours
		}
		items = append(items, itemsOfLayer(id, sub, files)...)
	}
	return items, nil
}

// itemsOfLayer lists what is in the directory of one layer.
func itemsOfLayer(id LayerID, dir string, files []iofs.DirEntry) (items []item) {
	plain, mapping := filepath.Join(dir, plainName), filepath.Join(dir, mapName)
	var beside, data os.FileInfo
	for _, e := range files {
		info, err := e.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue // it is gone, or none of ours
		}
		it := item{digest: id.Blob, layer: id, data: filepath.Join(dir, e.Name()), bytes: bytesOnDisk(info), used: info.ModTime()}
		switch name := e.Name(); {
		case name == plainName:
			data = info
		case name == mapName:
			beside = info
		case name == indexName:
			it.part, it.used = layerIndex, useTime(info, false)
			items = append(items, it)
		case strings.HasPrefix(name, unfinished):
			it.part = layerFile
			items = append(items, it)
		}
	}
	if beside == nil && data == nil {
		return items
	}
	it := item{digest: id.Blob, layer: id, part: layerPlain, data: plain, beside: mapping, stray: data == nil}
	if data != nil {
		it.bytes, it.used = bytesOnDisk(data), data.ModTime()
	}
	if beside != nil {
		it.bytes += bytesOnDisk(beside)
		it.used = useTime(beside, true)
	}
	return append(items, it)
}

// removeLayer removes an item of a layer, whose state is locked, and its directory with
// the last one.
func (e evictor) removeLayer(it item) error {
	var err error
	switch it.part {
	case layerIndex:
		err = removeFiles(it.data)
	case layerPlain:
		used, failed := isOpen(it.data)
		if failed != nil {
			return failed
		}
		if used {
			return errInUse
		}
		err = removeFiles(it.beside, it.data)
	default:
		err = removeLeft(it.data)
	}
	if err != nil {
		return err
	}
	_ = os.Remove(filepath.Dir(it.data)) // which something else is in, most often
	return nil
}

// removeLeft removes a file that a kill left, and errInUse is one that may be written to.
func removeLeft(path string) error {
	used, err := isOpen(path)
	if err != nil {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return noFile(err)
	}
	after := leftAfter
	if readersByte == 0 {
		after = abandonedAfter // nobody can lock anything here
	}
	if used || time.Since(info.ModTime()) < after { // by the clock of files
		return errInUse
	}
	return removeFiles(path)
}

// sweepLayers removes what kills left in the directories of layers, which may be as
// large as they are.
func sweepLayers(ctx context.Context, dir string) {
	items, _ := layerItems(dir)
	for _, it := range items {
		if it.part == layerFile && ctx.Err() == nil {
			_ = evictor{dir: dir}.remove(it)
		}
	}
}

// hasPlain says whether the plain bytes of a layer are open in this process.
func (s *Store) hasPlain(id LayerID) bool {
	s.mu.Lock()
	var read []*plainContent
	for k, c := range s.plains {
		if k.id == id {
			read = append(read, c)
		}
	}
	s.mu.Unlock()
	for _, c := range read {
		if c.current() != nil {
			return true
		}
	}
	return false
}
