package main

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

// atHand is an open file whose bytes never have to be waited for.
type atHand struct {
	readat.Reader
	read func() // called before each read
}

func (f atHand) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	f.read()
	return f.Reader.ReadAt(ctx, p, off)
}
func (atHand) Verified() bool { return true }
func (atHand) Close() error   { return nil }

// A copy that never waits can be interrupted all the same.
func TestCopyAllIsInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	reads := 0
	from := atHand{readat.Zeros(1 << 40), func() {
		if reads++; reads == 3 {
			cancel()
		}
	}}
	var to bytes.Buffer
	if err := copyAll(ctx, &to, from); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	if reads != 3 {
		t.Errorf("%d reads, want no more after the one that it was interrupted in", reads)
	}
}
