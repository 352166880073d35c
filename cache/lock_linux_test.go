package cache

import (
	"context"
	"errors"
	"os"
	"testing"
)

// TestOpenCanBeLeft has a blob whose file has to be read before it is open: who
// waits for that can leave, and it goes on for the others. The lock that an
// evictor takes holds it up.
func TestOpenCanBeLeft(t *testing.T) {
	const size = 5 * chunkSize
	from, d := newSource(size)
	s := withoutSums(t, Options{}, from, d)
	if err := os.Chmod(s.blobPath(d), 0o600); err != nil {
		t.Fatal(err)
	}
	held, err := os.OpenFile(s.blobPath(d), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Close() }()
	if ok, err := tryLock(held, readersByte, 1); !ok || err != nil {
		t.Fatal(ok, err)
	}
	blob := s.Repository(testRepository).Blob(d, size, from)
	why := errors.New("interrupted")
	ctx, leave := context.WithCancelCause(t.Context())
	ends := make(chan error)
	go func() {
		_, err := blob.Open(ctx)
		ends <- err
	}()
	leave(why)
	if err := <-ends; !errors.Is(err, why) {
		t.Errorf("error %v, want %v", err, why)
	}
	go func() {
		r, err := blob.Open(t.Context())
		if err == nil {
			mustRead(t, r, from.content)
			err = r.Close()
		}
		ends <- err
	}()
	_ = held.Close()
	if err := <-ends; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.sumsPath(d)); err != nil {
		t.Errorf("the sums are not there again: %v", err)
	}
	s.fetching.Wait()
	if n := s.Stats().Open; n != 0 {
		t.Errorf("%d blobs are open", n)
	}
}
