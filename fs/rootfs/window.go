package rootfs

import (
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// windowSize is how far back deflate refers (RFC 1951).
const windowSize = 32 << 10

// The two compress and decompress windows for all passes and readers at once.
var (
	windowEncoder = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithWindowSize(windowSize), zstd.WithLowerEncoderMem(true))
	})
	windowDecoder = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderMaxMemory(windowSize), zstd.WithDecoderLowmem(true))
	})
)

// encodeWindow returns what is kept of the plain bytes of a window: a zstd frame
// with its checksum. It is never nil.
func encodeWindow(window []byte) ([]byte, error) {
	z, err := windowEncoder()
	if err != nil {
		return nil, err
	}
	b := z.EncodeAll(window, make([]byte, 0, len(window)/2))
	return append(make([]byte, 0, len(b)), b...), nil
}

// decodeWindow returns the plain bytes of a window. What is kept of it may be
// damaged.
func decodeWindow(b []byte) ([]byte, error) {
	z, err := windowDecoder()
	if err != nil {
		return nil, err
	}
	window, err := z.DecodeAll(b, make([]byte, 0, windowSize))
	if err != nil {
		return nil, fmt.Errorf("%w: the window of a span: %w", ErrDamaged, err)
	}
	return window, nil
}
