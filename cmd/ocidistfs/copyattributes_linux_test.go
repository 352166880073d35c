package main

import (
	"errors"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// attributesAt are the extended attributes of a file, but for the longest of them.
func attributesAt(t *testing.T, path string) map[string]string {
	t.Helper()
	list := make([]byte, 1000)
	n, err := unix.Listxattr(path, list)
	if errors.Is(err, unix.EOPNOTSUPP) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:n]), "\x00"), "\x00") {
		value := make([]byte, 1000)
		if n, err := unix.Getxattr(path, name, value); err == nil && strings.HasPrefix(name, tree.AttributePrefix) {
			all[name] = string(value[:n])
		}
	}
	return all
}

// TestCopyAttributes needs no more than to own the files, although nobody may write to
// them in the end. What the cache has says nothing of a copy.
func TestCopyAttributes(t *testing.T) {
	file := map[string]string{
		tree.DigestAttribute: registrytest.DigestOf([]byte("content")).String(), tree.MediaTypeAttribute: "text/plain",
		tree.SizeAttribute: "7", tree.RefAttribute: "r/a@x", tree.RegistryAttribute: "r",
	}
	dir := map[string]string{tree.ManifestDigestAttribute: registrytest.DigestOf(nil).String()}
	for preserve, want := range map[bool][]map[string]string{true: {file, dir}, false: {nil, nil}} {
		copied, told := copyTestDir(t, testDir{"file": testFile{"content"}}, preserve)
		t.Cleanup(func() { _ = unix.Chmod(copied, 0o755) })
		if told != "" {
			t.Error(told)
		}
		for i, path := range []string{filepath.Join(copied, "file"), copied} {
			if got := attributesAt(t, path); !maps.Equal(got, want[i]) {
				t.Errorf("%s has %q, want %q", path, got, want[i])
			}
		}
	}
}
