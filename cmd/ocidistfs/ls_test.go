package main

import (
	iofs "io/fs"
	"testing"
)

// Within an image there are files of all types.
func TestTypes(t *testing.T) {
	for mode, want := range map[iofs.FileMode]string{
		0o644: "- file", iofs.ModeDir | 0o755: "d directory", iofs.ModeSymlink: "l link", iofs.ModeNamedPipe: "p pipe",
		iofs.ModeDevice: "b device", iofs.ModeDevice | iofs.ModeCharDevice: "c device", iofs.ModeSetuid | 0o755: "- file",
	} {
		if got := typeLetter(mode) + " " + typeName(mode); got != want {
			t.Errorf("%v is %q, want %q", mode, got, want)
		}
	}
}
