package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"
)

// Info is what is in a cache directory.
type Info struct {
	Dir   string `json:"directory"`
	Usage        // of the blobs and layers
	// Bytes is what counts for [Options.MaxBytes]: blobs, partial ones, what is beside
	// them or was left of it, and what is kept of layers.
	Bytes int64 `json:"bytes"`
	// Oldest and Newest are the last uses of the blob that goes first, and of the one
	// that goes last, where there are any.
	Oldest time.Time `json:"oldestUse,omitzero"`
	Newest time.Time `json:"newestUse,omitzero"`
	// What is known of registries: repositories, their tags and manifests.
	Repositories int   `json:"repositories"`
	Tags         int   `json:"tags"`
	Manifests    int   `json:"manifests"`
	RecordBytes  int64 `json:"recordBytes"`
	// Free and Size are of the file system, 0 where there is no directory.
	Free int64 `json:"freeBytes"`
	Size int64 `json:"fileSystemBytes"`
	// LeastFree is what [Options.MinFree] comes to there.
	LeastFree int64 `json:"minFreeBytes"`
}

// InfoOf looks at a cache directory without opening it. One that does not exist is
// empty; one that is something else is an error.
func InfoOf(dir string, minFree int64) (Info, error) {
	info := Info{Dir: dir}
	if err := known(dir); err != nil {
		return info, err
	}
	items, err := inventory(dir)
	if err != nil {
		return info, err
	}
	info.Bytes = bytesOf(items)
	for _, it := range items {
		if it.stray {
			continue
		}
		if info.Oldest.IsZero() || it.used.Before(info.Oldest) {
			info.Oldest = it.used
		}
		if it.used.After(info.Newest) {
			info.Newest = it.used
		}
	}
	if info.Usage, err = UsageOf(dir); err != nil {
		return info, err
	}
	if err := info.addRecords(); err != nil {
		return info, err
	}
	if info.Free, info.Size, err = diskOf(dir); errors.Is(err, os.ErrNotExist) {
		return info, nil
	}
	info.LeastFree = max(leastFree(minFree, info.Size), 0)
	return info, err
}

// addRecords counts what is known of registries.
func (i *Info) addRecords() error {
	refs := filepath.Join(i.Dir, "refs")
	repositories, err := readDir(refs)
	for _, r := range repositories {
		if !validHex(r.Name()) {
			continue
		}
		i.Repositories++
		for sub, n := range map[string]*int{"": new(int), "tags": &i.Tags, "digests": &i.Manifests, "referrers": new(int)} {
			err = errors.Join(err, eachFile(filepath.Join(refs, r.Name(), sub), func(_ string, size int64) {
				*n++
				i.RecordBytes += size
			}))
		}
	}
	return err
}

// known is an error where a directory is something else than a cache: nothing is to
// be removed there.
func known(dir string) error {
	err := checkOurs(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}

// A Removal is what was removed from a cache directory, and what was not.
type Removal struct {
	Removed []RemovedBlob `json:"removed"`
	// InUse are those that would have gone, but somebody has them open.
	InUse []RemovedBlob `json:"inUse"`
	// Freed and Left have what is beside blobs, and what was left of it, too.
	Freed int64 `json:"freedBytes"`
	Left  int64 `json:"leftBytes"`
	// Repositories are those of which nothing is known any more.
	Repositories int `json:"repositories"`
}

// A RemovedBlob is one blob of a [Removal], or what was kept of one that is a layer.
type RemovedBlob struct {
	Digest  string    `json:"digest"`
	Partial bool      `json:"partial"`
	Layer   string    `json:"layer,omitempty"` // what it is of the layer: "plain" bytes, or its "index"
	Bytes   int64     `json:"bytes"`
	Used    time.Time `json:"lastUse"`
}

// A Pruning says which blobs go. The zero value is none.
type Pruning struct {
	// MaxBytes is how much may stay, where Limited is set: those used last.
	MaxBytes int64
	Limited  bool
	// UnusedSince makes all go that were not used since.
	UnusedSince time.Time
}

// Prune removes blobs from a cache directory that nobody has open, and what is kept of
// layers: first what was used longest ago, and indexes of layers last. It is safe beside
// all who use the directory. ctx ends it between two; then, and after an error, the
// removal says what was done.
func Prune(ctx context.Context, dir string, p Pruning) (Removal, error) {
	r := Removal{Removed: []RemovedBlob{}, InUse: []RemovedBlob{}}
	if err := known(dir); err != nil {
		return r, err
	}
	sweep(ctx, dir)
	items, err := inventory(dir)
	if err != nil {
		return r, err
	}
	if len(items) > 0 {
		if err := prepare(dir); err != nil { // its lock may have been removed
			return r, err
		}
	}
	oldestFirst(items)
	r.Left = bytesOf(items)
	var errs []error
	for _, it := range items {
		if ctx.Err() != nil {
			errs = append(errs, context.Cause(ctx))
			break
		}
		if !it.stray && !it.used.Before(p.UnusedSince) && (!p.Limited || r.Left <= p.MaxBytes) {
			continue
		}
		one := RemovedBlob{it.digest.String(), it.partial, it.part.String(), it.bytes, it.used}
		switch err := (evictor{dir: dir}).remove(it); {
		case (it.stray || it.part == layerFile) && err != nil: // somebody makes one of it
		case errors.Is(err, errInUse):
			r.InUse = append(r.InUse, one)
		case err != nil:
			errs = append(errs, err)
		default:
			if !it.stray && it.part != layerFile {
				r.Removed = append(r.Removed, one)
			}
			r.Freed += it.bytes
			r.Left -= it.bytes
		}
	}
	return r, errors.Join(errs...)
}

// Clear removes all blobs from a cache directory that nobody has open, what is kept of
// layers, and all that is known of registries. It is safe beside all who use the
// directory: they ask again.
func Clear(ctx context.Context, dir string) (Removal, error) {
	r, err := Prune(ctx, dir, Pruning{Limited: true})
	if err != nil {
		return r, err
	}
	refs := filepath.Join(dir, "refs")
	repositories, err := readDir(refs)
	for _, e := range repositories {
		if !validHex(e.Name()) {
			continue
		}
		if failed := os.RemoveAll(filepath.Join(refs, e.Name())); failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		r.Repositories++
	}
	return r, err
}
