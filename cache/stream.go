package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// withheld is how much of a streamed blob waits for its digest.
const withheld = 32 << 10

// Stream copies one blob to w without a cache, from its beginning to its end. A
// body that ends early is taken up where it ended. The last bytes are written
// only when all of them have the digest; otherwise it is [ErrMismatch].
func Stream(ctx context.Context, w io.Writer, d v1.Hash, size int64, from Fetcher) error {
	if size < 0 || d.Algorithm != "sha256" {
		return fmt.Errorf("blob %s of %d bytes: not a sha256 digest, or no size", d, size)
	}
	s := &streamer{w: w, digest: sha256.New(), size: size}
	for idle := 0; s.at < size; {
		before := s.at
		ranges, err := s.take(ctx, d, from)
		switch {
		case s.err != nil:
			return s.err
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case s.at-before >= chunkSize && ranges:
			idle = 0 // whatever ended it, go on where it ended
			continue
		case s.at == before && err != nil && !errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("blob %s: %w", d, err)
		}
		if idle++; idle >= maxIdle && s.at < size {
			if err == nil {
				err = fmt.Errorf("%w: it ends after %d of %d bytes", ErrMismatch, s.at, size)
			}
			return fmt.Errorf("blob %s: %w", d, err)
		}
	}
	if got := hex.EncodeToString(s.digest.Sum(nil)); got != d.Hex {
		dispute(from, d)
		return fmt.Errorf("blob %s: %w: it is sha256:%s", d, ErrMismatch, got)
	}
	return s.flush()
}

// streamer writes all but the last bytes of a stream at once, and those when
// told to.
type streamer struct {
	w      io.Writer
	digest hash.Hash
	size   int64
	at     int64 // bytes that came
	held   []byte
	err    error // of w, so that it is not taken for the source's
}

// take asks for what is still missing and writes what comes of it. ranges says
// whether the source knows them: one that does not begins at the beginning.
func (s *streamer) take(ctx context.Context, d v1.Hash, from Fetcher) (ranges bool, err error) {
	off := s.at
	body, start, err := from.BlobRange(ctx, d, off, s.size-off)
	if err != nil {
		return true, err
	}
	defer func() { _ = body.Close() }() // all that is needed was read
	if start != off {
		if start != 0 {
			return true, fmt.Errorf("%w: asked for bytes at %d, got those at %d", ErrMismatch, off, start)
		}
		if _, err := io.CopyN(io.Discard, body, off); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return false, err
		}
	}
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	_, err = io.CopyBuffer(s, io.LimitReader(body, s.size-off), *buffer)
	return start == off, err
}

func (s *streamer) Write(p []byte) (int, error) {
	n := len(p)
	s.digest.Write(p)
	s.at += int64(n)
	left := s.size - s.at
	if free := int64(n) - max(withheld-left, 0); free > 0 && len(s.held) == 0 {
		if _, s.err = s.w.Write(p[:free]); s.err != nil {
			return 0, s.err
		}
		p = p[free:]
	}
	s.held = append(s.held, p...)
	return n, nil
}

func (s *streamer) flush() error {
	_, err := s.w.Write(s.held)
	return err
}
