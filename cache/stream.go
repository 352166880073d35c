package cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// withheld is how much of a streamed blob waits for its digest.
const withheld = 32 << 10

// Stream copies one blob to w without a cache, from its beginning to its end. A
// body that ends early is taken up where it ended. The last bytes are written
// only when all of them have the digest; otherwise it is [ErrMismatch].
func Stream(ctx context.Context, w io.Writer, d v1.Hash, size int64, from Fetcher) error {
	s := &streamer{w: w, left: size}
	h := sha256.New()
	var at int64
	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	for idle := 0; at < size; {
		n, err := func() (int64, error) {
			body, start, err := from.BlobRange(ctx, d, at, size-at)
			if err != nil {
				return 0, err
			}
			defer func() { _ = body.Close() }() // all that is needed was read
			if start != at {
				if start != 0 {
					return 0, fmt.Errorf("asked for bytes at %d, got those at %d", at, start)
				}
				if _, err := io.CopyN(io.Discard, body, at); err != nil {
					return 0, err
				}
			}
			return io.CopyBuffer(io.MultiWriter(h, s), io.LimitReader(body, size-at), *buffer)
		}()
		at += n
		if s.err != nil {
			return s.err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if n > 0 {
			idle = 0
			continue
		}
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("blob %s: %w", d, err)
		}
		if idle++; idle >= maxIdle {
			return fmt.Errorf("blob %s: %w: it ends after %d of %d bytes", d, ErrMismatch, at, size)
		}
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != d.Hex {
		return fmt.Errorf("blob %s: %w: it is sha256:%s", d, ErrMismatch, got)
	}
	return s.flush()
}

// streamer writes all but the last bytes of a stream at once, and those when
// told to.
type streamer struct {
	w    io.Writer
	left int64 // bytes still to come
	held []byte
	err  error // of w, so that it is not taken for the source's
}

func (s *streamer) Write(p []byte) (int, error) {
	n := len(p)
	s.left -= int64(n)
	if free := int64(n) - max(withheld-s.left, 0); free > 0 && len(s.held) == 0 {
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
