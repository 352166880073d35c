package cache

import (
	"os"
	"testing"
)

func TestRoom(t *testing.T) {
	s := openStoreWith(t, t.TempDir(), Options{MaxBytes: 5 << 20, MinFree: 1 << 10})
	r := s.Room()
	if r.MaxBytes != 5<<20 || r.LeastFree != 1<<10 || r.Free <= 0 {
		t.Errorf("room %+v", r)
	}
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if r := s.Room(); r != (Room{MaxBytes: 5 << 20}) {
		t.Errorf("without a directory: %+v", r)
	}
}
