package cache

import (
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"os"
)

// layer checks what is kept of a layer. What is of no use is removed, as damaged blobs
// are; files that are being written are not looked at.
func (v *Verification) layer(ctx context.Context, dir string, it item) error {
	switch it.part {
	case layerIndex:
		return v.index(dir, it)
	case layerPlain:
		return v.plain(ctx, dir, it)
	default:
		return nil
	}
}

// index checks the index of a layer.
func (v *Verification) index(dir string, it item) error {
	f, err := os.Open(it.data)
	if err != nil {
		return noFile(err)
	}
	defer func() { _ = f.Close() }() // only read
	b, err := io.ReadAll(f)
	v.Bytes += int64(len(b))
	v.Indexes++
	if err == nil {
		_, err = withoutTrailer(b)
	}
	if err == nil {
		return nil
	}
	removed, failed := removeIndexIfAt(dir, it, f)
	v.Damaged = append(v.Damaged, DamagedBlob{it.digest.String(), false, it.part.String(), "its sum is another", removed})
	return failed
}

// removeIndexIfAt removes an index, if it is still f.
func removeIndexIfAt(dir string, it item, f *os.File) (bool, error) {
	s := Store{dir: dir}
	unlock, err := s.lockState(it.digest)
	if err != nil {
		return false, err
	}
	defer unlock()
	if !isAt(f, it.data) {
		return false, nil
	}
	return true, removeFiles(it.data)
}

// plain checks the plain bytes of a layer that nobody has open.
func (v *Verification) plain(ctx context.Context, dir string, it item) error {
	used, err := isOpen(it.data)
	if err != nil {
		return err
	}
	if used {
		v.Skipped++
		return nil
	}
	damaged, err := damagedPieces(ctx, it, &v.Bytes)
	if ctx.Err() != nil {
		return nil //nolint:nilerr // that ctx has ended is said once, by Verify
	}
	if errors.Is(err, iofs.ErrNotExist) {
		// It was evicted, or a kill has left it without its map, and it is nothing.
		if err = (evictor{dir: dir}).remove(it); errors.Is(err, errInUse) {
			return nil
		}
		return err
	}
	v.Plain++
	return v.judge(dir, it, "pieces", damaged, err)
}

// damagedPieces counts the pieces of plain bytes that do not match their records, and
// adds to read what it read.
func damagedPieces(ctx context.Context, it item, read *int64) (damaged int, err error) {
	data, err := os.Open(it.data)
	if err != nil {
		return 0, err
	}
	defer func() { _ = data.Close() }() // only read
	if err := lockShared(data); err != nil {
		return 0, err
	}
	mapping, err := os.Open(it.beside)
	if err != nil {
		return 0, err
	}
	defer func() { _ = mapping.Close() }() // only read
	header, ok := readMapHeader(mapping)
	if !ok {
		return 0, errors.New("its map is damaged")
	}
	var pieces plainPieces // of records of the same bytes the last counts
	if _, err := readPieces(mapping, layerMapHeader, func(found []foundPiece) {
		for _, p := range found {
			pieces.add(p.off, p.n, p.crc, header.size)
		}
	}); err != nil {
		return 0, err
	}
	b := make([]byte, pieceSize)
	for i, page := range pieces.pages {
		for _, p := range page {
			if ctx.Err() != nil {
				return damaged, context.Cause(ctx)
			}
			one := b[:p.end()-p.at]
			n, err := data.ReadAt(one, int64(i)*piecePage+int64(p.at))
			*read += int64(n)
			if err != nil && !errors.Is(err, io.EOF) {
				return damaged, err
			}
			if n < len(one) || sum(one) != p.crc {
				damaged++
			}
		}
	}
	return damaged, nil
}
