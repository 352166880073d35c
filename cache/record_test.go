package cache

import (
	"bytes"
	"errors"
	iofs "io/fs"
	"slices"
	"testing"
	"time"
)

// FuzzRecord decodes arbitrary records: what is taken was encoded so, of this
// and of nothing else.
func FuzzRecord(f *testing.F) {
	f.Add("tag a:b", encodeRecord("tag a:b", []byte("content")), 3, byte(1))
	f.Add("", []byte("\n"), 0, byte(0))
	f.Fuzz(func(t *testing.T, of string, b []byte, at int, change byte) {
		for _, b := range [][]byte{b, encodeRecord(of, b)} {
			content, err := decodeRecord(of, b)
			if err != nil {
				if !errors.Is(err, iofs.ErrNotExist) {
					t.Errorf("error %v, want a miss", err)
				}
				continue
			}
			if !bytes.Equal(encodeRecord(of, content), b) {
				t.Error("it is not what was encoded")
			}
			if _, err := decodeRecord(of+"x", b); err == nil {
				t.Error("it counts as a record of something else")
			}
			if at >= 0 && change != 0 {
				b = bytes.Clone(b)
				b[at%len(b)] ^= change
				if _, err := decodeRecord(of, b); err == nil {
					t.Error("damaged, and taken")
				}
			}
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add("application/json", []byte("{}"), int64(1), 70, byte(1))
	f.Add("a\nb", []byte("\n\n"), int64(0), 0, byte(0))
	f.Fuzz(func(t *testing.T, mediaType string, content []byte, seen int64, at int, change byte) {
		// Whatever passes its sum is looked at: it is not to be trusted with more.
		if m, err := decodeManifest(digestOf(nil), encodeRecord("manifest "+digestOf(nil).Hex, content)); err == nil && len(m.Bytes) >= len(content) {
			t.Errorf("%d bytes out of %d", len(m.Bytes), len(content))
		}
		m := Manifest{digestOf(content), mediaType, content, time.Unix(seen%(1<<32), 0).UTC()}
		b, err := encodeManifest(m)
		if err != nil {
			return // a time that JSON cannot hold
		}
		got, err := decodeManifest(m.Digest, b)
		if err != nil || !bytes.Equal(got.Bytes, content) || !got.FirstSeen.Equal(m.FirstSeen) {
			t.Errorf("encoded and decoded it is %+v, %v", got, err)
		}
		if at >= 0 && change != 0 {
			b[at%len(b)] ^= change
			if _, err := decodeManifest(m.Digest, b); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("damaged: %v, want a miss", err)
			}
		}
	})
}

func FuzzTag(f *testing.F) {
	f.Add("a:v1", []byte(`{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}`), int64(1), 70, byte(1))
	f.Add("a:v1", []byte(`{"digest":"sha512:e3b0"}`), int64(1), 0, byte(0))
	f.Fuzz(func(t *testing.T, name string, content []byte, resolved int64, at int, change byte) {
		if tag, err := decodeTag(name, encodeRecord("tag "+name, content)); err == nil && !validHex(tag.Digest.Hex) {
			t.Errorf("digest %v", tag.Digest)
		}
		tag := Tag{digestOf(content), time.Unix(resolved%(1<<32), 0).UTC()}
		b, err := encodeTag(name, tag)
		if err != nil {
			return // a time that JSON cannot hold
		}
		if got, err := decodeTag(name, b); err != nil || got != tag {
			t.Errorf("encoded and decoded it is %+v, %v", got, err)
		}
		if at >= 0 && change != 0 {
			b[at%len(b)] ^= change
			if _, err := decodeTag(name, b); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("damaged: %v, want a miss", err)
			}
		}
	})
}

func FuzzReferrers(f *testing.F) {
	f.Add("a", []byte(`{"found":[{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","kind":"x"}]}`), int64(1), 70, byte(1))
	f.Add("a", []byte(`{"found":[{"digest":"sha512:e3b0"}]}`), int64(1), 0, byte(0))
	f.Add("a", []byte(`{"found":null}`), int64(1), 0, byte(0))
	f.Fuzz(func(t *testing.T, name string, content []byte, asked int64, at int, change byte) {
		d := digestOf([]byte(name))
		if found, err := decodeReferrers(name, d, encodeRecord("referrers "+name+"@"+d.String(), content)); err == nil {
			for _, one := range found.Found {
				if !validDigest(one.Digest) {
					t.Errorf("digest %v", one.Digest)
				}
			}
		}
		want := Referrers{Asked: time.Unix(asked%(1<<32), 0).UTC(), Found: []Referrer{{digestOf(content), "kind"}}}
		b, err := encodeReferrers(name, d, want)
		if err != nil {
			return // a time that JSON cannot hold
		}
		if got, err := decodeReferrers(name, d, b); err != nil || !got.Asked.Equal(want.Asked) || !slices.Equal(got.Found, want.Found) {
			t.Errorf("encoded and decoded it is %+v, %v", got, err)
		}
		if at >= 0 && change != 0 {
			b[at%len(b)] ^= change
			if _, err := decodeReferrers(name, d, b); !errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("damaged: %v, want a miss", err)
			}
		}
	})
}
