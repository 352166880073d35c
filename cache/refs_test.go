package cache

import (
	"crypto/sha256"
	"errors"
	iofs "io/fs"
	"slices"
	"testing"
	"time"
)

func TestManifests(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	dir := t.TempDir()
	s, err := Open(dir, Options{Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	r := s.Repository("registry.example.com/a")
	b := []byte(`{"a":1}`)
	d := digestOf(b)
	if _, err := r.Manifest(d); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatalf("before it was put: %v", err)
	}
	first, err := r.PutManifest(d, "type", b)
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Hour)
	second, err := r.PutManifest(d, "type", b)
	if err != nil || !second.FirstSeen.Equal(first.FirstSeen) {
		t.Errorf("put again it was first seen at %v, before at %v: %v", second.FirstSeen, first.FirstSeen, err)
	}
	if m, err := r.Manifest(d); err != nil || string(m.Bytes) != string(b) || m.MediaType != "type" || m.Digest != d {
		t.Errorf("got %+v, %v", m, err)
	}
	if digests, err := r.Digests(); err != nil || len(digests) != 1 || digests[0] != d {
		t.Errorf("digests %v, %v", digests, err)
	}
	if names, err := s.Repositories(); err != nil || !slices.Equal(names, []string{"registry.example.com/a"}) {
		t.Errorf("repositories %v, %v", names, err)
	}
	edit(t, r.dir+"/digests/"+d.Hex, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	if _, err := r.Manifest(d); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("damaged: %v, want a miss", err)
	}
}

func TestTags(t *testing.T) {
	s := openStore(t, t.TempDir())
	r := s.Repository("registry.example.com/a")
	want := Tag{digestOf(nil), time.Now().UTC().Round(0)}
	if err := r.PutTag("v1", want); err != nil {
		t.Fatal(err)
	}
	if got, err := r.Tag("v1"); err != nil || got.Digest != want.Digest || !got.Resolved.Equal(want.Resolved) {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, bad := range []string{"", "..", "../v1", ".hidden", "a/b"} {
		if err := r.PutTag(bad, want); err == nil {
			t.Errorf("PutTag(%q) took it", bad)
		}
		if _, err := r.Tag(bad); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("Tag(%q): %v", bad, err)
		}
	}
	if err := r.DeleteTag("v1"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Tag("v1"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("after it was deleted: %v", err)
	}
}

func FuzzDecodeManifest(f *testing.F) {
	good, _ := encodeManifest(Manifest{MediaType: "t", Bytes: []byte("{}")})
	f.Add(good)
	f.Add([]byte("\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if m, err := decodeManifest(b); err == nil && len(m.Bytes) >= len(b) {
			t.Error("more bytes than there were")
		}
	})
}

func FuzzDecodeTag(f *testing.F) {
	f.Add([]byte(`{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if tag, err := decodeTag(b); err == nil && !validHex(tag.Digest.Hex) {
			t.Errorf("digest %v", tag.Digest)
		}
	})
}

func FuzzDecodeHeader(f *testing.F) {
	h := sha256.New()
	h.Write([]byte("x"))
	good, err := encodeHeader(100, 1, h)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good, int64(100))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if hashed, h := decodeHeader(b, size); hashed < 0 || (hashed > size && hashed != 0) || h == nil {
			t.Errorf("hashed %d of %d", hashed, size)
		}
	})
}

func FuzzDecodeSums(f *testing.F) {
	f.Add(encodeSums(40000, []uint32{1, 2, 3}), int64(40000))
	f.Fuzz(func(t *testing.T, b []byte, size int64) {
		if size < 0 || size > 1<<30 {
			return
		}
		if sums := decodeSums(b, size); sums != nil && len(sums) != chunksOf(size) {
			t.Errorf("%d sums for %d bytes", len(sums), size)
		}
	})
}
