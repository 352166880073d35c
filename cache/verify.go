package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
)

// A Verification is what [Verify] found.
type Verification struct {
	Blobs   int   `json:"blobs"`        // whole ones that were read
	Partial int   `json:"partialBlobs"` // that were read
	Indexes int   `json:"layerIndexes"` // that were read
	Plain   int   `json:"layerPlain"`   // layers of which plain bytes were read
	Bytes   int64 `json:"bytes"`        // that were read
	// Mended are blobs whose sums were lost or damaged, and are made anew.
	Mended []string `json:"mendedSums"`
	// Skipped are partial blobs and plain bytes of layers that are open: who reads them
	// checks them.
	Skipped int           `json:"skipped"`
	Damaged []DamagedBlob `json:"damaged"`
}

// A DamagedBlob is one that is not what it should be, or what was kept of one that is a
// layer. Whoever reads it next fetches it again.
type DamagedBlob struct {
	Digest  string `json:"digest"`
	Partial bool   `json:"partial"`
	Layer   string `json:"layer,omitempty"` // what it is of the layer: "plain" bytes, or its "index"
	Reason  string `json:"reason"`
	Removed bool   `json:"removed"`
}

// Verify reads all blobs in a cache directory, and removes those that are damaged: a
// whole one that does not have its digest, and a partial one with a chunk that does
// not have its sum. What is kept of layers it reads as well: whoever needs what was
// removed makes it again. It is safe beside all who use the directory. ctx ends it;
// then, and after an error, the verification says what was done.
func Verify(ctx context.Context, dir string) (Verification, error) {
	v := Verification{Mended: []string{}, Damaged: []DamagedBlob{}}
	if err := known(dir); err != nil {
		return v, err
	}
	items, err := inventory(dir)
	if err != nil {
		return v, err
	}
	var errs []error
	for _, it := range items {
		if ctx.Err() != nil {
			errs = append(errs, context.Cause(ctx))
			break
		}
		if it.stray {
			continue
		}
		check := v.whole
		switch {
		case it.part != noLayer:
			check = v.layer
		case it.partial:
			check = v.partial
		}
		if err := check(ctx, dir, it); err != nil {
			errs = append(errs, fmt.Errorf("blob %s: %w", it.digest, err))
		}
	}
	return v, errors.Join(errs...)
}

// whole checks a blob that is whole.
func (v *Verification) whole(ctx context.Context, dir string, it item) error {
	f, err := os.Open(it.data)
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	if err := lockShared(f); err != nil {
		return err
	}
	ctime := changeTime(f)
	got, t, size, err := sumsAndDigest(ctx, f)
	v.Bytes += size
	if ctx.Err() != nil {
		return nil //nolint:nilerr // which is said once
	}
	v.Blobs++
	reason := ""
	switch {
	case err != nil:
		reason = err.Error()
	case got != it.digest.Hex:
		reason = "it is sha256:" + got
	}
	if reason == "" {
		return v.sums(dir, it, f, ctime, size, t)
	}
	removed, err := removeIfAt(dir, it, f)
	v.Damaged = append(v.Damaged, DamagedBlob{it.digest.String(), false, "", reason, removed})
	return err
}

// sums checks the sums of a whole blob that has its digest, and makes them anew
// where they are not what they should be.
func (v *Verification) sums(dir string, it item, f *os.File, ctime, size int64, t *table) error {
	want := encodeSums(size, t)
	if b, err := os.ReadFile(it.beside); err == nil && string(b) == string(want) {
		return nil
	}
	s := Store{dir: dir}
	unlock, err := s.lockState(it.digest)
	if err != nil {
		return err
	}
	defer unlock()
	if !isAt(f, it.data) {
		return nil // it was evicted
	}
	if err := writeFile(it.beside, want, 0o400); err != nil {
		return err
	}
	if changeTime(f) == ctime {
		s.stamp(it.digest, f)
	}
	v.Mended = append(v.Mended, it.digest.String())
	return nil
}

// removeIfAt removes a whole blob and its sums, if it is still f. Those who have it
// open find the damage themselves.
func removeIfAt(dir string, it item, f *os.File) (bool, error) {
	s := Store{dir: dir}
	unlock, err := s.lockState(it.digest)
	if err != nil {
		return false, err
	}
	defer unlock()
	if !isAt(f, it.data) {
		return false, nil
	}
	return true, removeFiles(it.data, it.beside)
}

// sumsAndDigest reads a file to its end.
func sumsAndDigest(ctx context.Context, f *os.File) (digest string, t *table, size int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return "", nil, 0, err
	}
	h := sha256.New()
	t = newTable(chunksOf(info.Size()))
	b := make([]byte, chunkSize)
	for i := range t.n {
		if ctx.Err() != nil {
			return "", nil, size, context.Cause(ctx)
		}
		chunk := b[:chunkLen(i, info.Size())]
		if _, err := f.ReadAt(chunk, size); err != nil && !errors.Is(err, io.EOF) {
			return "", nil, size, err
		}
		size += int64(len(chunk))
		h.Write(chunk)
		t.add(i, sum(chunk))
	}
	return hex.EncodeToString(h.Sum(nil)), t, size, nil
}

// partial checks what has come of a blob.
func (v *Verification) partial(ctx context.Context, dir string, it item) error {
	used, err := isOpen(it.data)
	if err != nil {
		return err
	}
	if used {
		v.Skipped++
		return nil
	}
	damaged, err := damagedRecords(ctx, it, &v.Bytes)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that ctx has ended is said once, by Verify
	}
	if errors.Is(err, iofs.ErrNotExist) {
		return nil
	}
	v.Partial++
	return v.judge(dir, it, "chunks", damaged, err)
}

// judge takes note of what has a map: it is damaged if it could not be read, or if some of
// its parts, which are called what, do not have their sums. Then it is removed, unless
// somebody has opened it by now.
func (v *Verification) judge(dir string, it item, what string, damaged int, err error) error {
	reason := ""
	switch {
	case err != nil:
		reason = err.Error()
	case damaged > 0:
		reason = fmt.Sprintf("%d of its %s do not have their sums", damaged, what)
	default:
		return nil
	}
	err = evictor{dir: dir}.remove(it)
	if errors.Is(err, errInUse) {
		v.Skipped++
		return nil
	}
	v.Damaged = append(v.Damaged, DamagedBlob{it.digest.String(), it.partial, it.part.String(), reason, err == nil})
	return err
}

// damagedRecords counts the chunks of a partial blob that do not match their
// records, and adds to read what it read.
func damagedRecords(ctx context.Context, it item, read *int64) (damaged int, err error) {
	f, err := os.Open(it.data)
	if err != nil {
		return 0, err
	}
	defer func() { _ = f.Close() }() // only read
	if err := lockShared(f); err != nil {
		return 0, err
	}
	mapping, err := os.Open(it.beside)
	if err != nil {
		return 0, err
	}
	defer func() { _ = mapping.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	var failed error
	b := make([]byte, chunkSize)
	err = readRecords(mapping, span{0, chunksOf(info.Size())}, func(found []recorded) {
		for _, r := range found {
			if ctx.Err() != nil || failed != nil {
				return
			}
			chunk := b[:chunkLen(r.chunk, info.Size())]
			n, err := f.ReadAt(chunk, int64(r.chunk)*chunkSize)
			*read += int64(n)
			if err != nil && !errors.Is(err, io.EOF) {
				failed = err
			} else if n < len(chunk) || sum(chunk) != r.crc {
				damaged++
			}
		}
	})
	return damaged, errors.Join(err, failed)
}
