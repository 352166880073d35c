package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteWhole(t *testing.T) {
	failed := errors.New("failed")
	for _, c := range []struct {
		name   string
		before string // what is there; "" is nothing
		err    error
		want   string
	}{
		{"new", "", nil, "after"},
		{"replaced", "before", nil, "after"},
		{"failed", "", failed, ""},
		{"kept", "before", failed, "before"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "file")
			if c.before != "" {
				if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := writeWhole(path, func(w *os.File) error {
				if now, _ := os.ReadFile(path); string(now) != c.before {
					t.Errorf("while it is written, the file is %q", now)
				}
				_, err := io.WriteString(w, "after")
				return errors.Join(err, c.err)
			})
			if !errors.Is(err, c.err) || (err != nil) != (c.err != nil) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if now, _ := os.ReadFile(path); string(now) != c.want {
				t.Errorf("%q, want %q", now, c.want)
			}
			if info, err := os.Stat(path); c.before != "" && (err != nil || info.Mode().Perm() != 0o600) {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
			left, err := os.ReadDir(dir)
			want := 1
			if c.want == "" {
				want = 0
			}
			if err != nil || len(left) != want {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}
