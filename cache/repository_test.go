package cache

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

func TestRepositories(t *testing.T) {
	s := openStore(t, t.TempDir())
	if names, err := s.Repositories(); err != nil || len(names) != 0 {
		t.Errorf("an empty store has repositories %v, %v", names, err)
	}
	a, b := s.Repository("b.example.com/x"), s.Repository("a.example.com/x")
	for _, r := range []*Repository{a, b} {
		if err := r.PutTag("v1", Tag{digestOf(nil), time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{"a.example.com/x", "b.example.com/x"}
	if names, err := s.Repositories(); err != nil || !slices.Equal(names, want) {
		t.Errorf("repositories %v, %v", names, err)
	}
	edit(t, filepath.Join(a.dir, "name"), flip(0))
	if names, err := NamesIn(s.Dir()).Repositories(); err != nil || !slices.Equal(names, want[:1]) {
		t.Errorf("one with a damaged name is listed: %v, %v", names, err)
	}
	if err := a.PutTag("v2", Tag{digestOf(nil), time.Now()}); err != nil {
		t.Fatal(err)
	}
	if names, err := NamesIn(s.Dir()).Repositories(); err != nil || !slices.Equal(names, want) {
		t.Errorf("the name is not healed: %v, %v", names, err)
	}
	if err := os.RemoveAll(s.Dir()); err != nil {
		t.Fatal(err)
	}
	if names, err := s.Repositories(); err != nil || len(names) != 0 {
		t.Errorf("a directory that was removed has repositories %v, %v", names, err)
	}
}

func TestManifests(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	s := openStoreWith(t, t.TempDir(), Options{Now: func() time.Time { return now }})
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
	other := digestOf(nil)
	if err := os.Rename(r.dir+"/digests/"+d.Hex, r.dir+"/digests/"+other.Hex); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Manifest(other); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the manifest of another digest: %v, want a miss", err)
	}
	if _, err := r.PutManifest(d, "type", b); err != nil {
		t.Fatal(err)
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
	if got, err := r.Tag("v1"); err != nil || got != want {
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
	if err := os.Rename(r.dir+"/tags/v1", r.dir+"/tags/v2"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Tag("v2"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the record of another tag: %v, want a miss", err)
	}
	if err := r.DeleteTag("v2"); err != nil {
		t.Fatal(err)
	}
	if err := r.DeleteTag("v2"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestReferrersAreKept(t *testing.T) {
	s := openStore(t, t.TempDir())
	r := s.Repository("registry.example.com/a")
	d := digestOf(nil)
	if _, err := r.Referrers(d); !errors.Is(err, iofs.ErrNotExist) {
		t.Fatalf("before they were put: %v", err)
	}
	for _, found := range [][]Referrer{{{digestOf([]byte("1")), "sig"}, {digestOf([]byte("2")), ""}}, nil} {
		want := Referrers{found, time.Now().UTC().Round(0)}
		if err := r.PutReferrers(d, want); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Referrers(d); err != nil || !slices.Equal(got.Found, found) || !got.Asked.Equal(want.Asked) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	bad := v1.Hash{Algorithm: "sha256", Hex: "../" + d.Hex[3:]}
	if err := r.PutReferrers(bad, Referrers{}); err == nil {
		t.Error("a digest that is none was taken")
	}
	if _, err := r.Referrers(bad); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("of a digest that is none: %v", err)
	}
	other := digestOf([]byte("other"))
	if err := os.Rename(r.dir+"/referrers/"+d.Hex, r.dir+"/referrers/"+other.Hex); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Referrers(other); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("the record of another digest: %v, want a miss", err)
	}
}
