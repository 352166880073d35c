package main

import (
	"crypto/sha256"
	"fmt"
	iofs "io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/internal/artifacts"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestAttributes: "What cp -a copies keeps the attributes that name it, from a mount and
// without one." To read those of all in an image directory fetches no blob, and they are
// what the bytes of the copies are.
func TestAttributes(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	for _, content := range []*artifacts.Fixture{artifacts.BuildKit(), artifacts.Chart(), artifacts.Schema1()} {
		t.Run(content.Name, func(t *testing.T) {
			content.Put(s, content.Name)
			at := filepath.Join(s.Host(), content.Name, "tags", artifacts.Tag)
			dir, work := background(t, t.TempDir(), "--platform linux/amd64"), t.TempDir()
			t.Cleanup(func() { _ = exec.Command("chmod", "-R", "u+w", work).Run() }) // so that it can be removed
			s.Forget()
			// Without getfattr, TestContentAttributes of fs is what holds this.
			bash(t, "! command -v getfattr > /dev/null || getfattr -d -R "+dir+"/"+at+" > "+work+"/said")
			if n := s.Count(registrytest.Blob); n != 0 {
				t.Errorf("%d requests for blobs to read attributes", n)
			}
			bash(t, "cp -a "+dir+"/"+at+" "+work+"/cp; diff -r --no-dereference "+dir+"/"+at+" "+work+"/cp")
			bash(t, "ocidistfs cp -a --platform linux/amd64 "+at+" "+work+"/command; diff -r --no-dereference "+work+"/cp "+work+"/command")
			want := attributesBelow(t, work+"/cp")
			got := attributesBelow(t, work+"/command")
			for path := range want {
				if !maps.Equal(got[path], want[path]) {
					t.Errorf("%s has %q, and in a copy from the mount %q", path, got[path], want[path])
				}
			}
			checkDigests(t, work+"/cp", want)
		})
	}
}

// attributesBelow are the attributes of a copy and of all below it, by path, but for
// how much is cached of what they were copied from.
func attributesBelow(t *testing.T, dir string) map[string]map[string]string {
	t.Helper()
	all := map[string]map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, d iofs.DirEntry, err error) error {
		if err == nil && d.Type() != iofs.ModeSymlink {
			one := attributesAt(t, path)
			delete(one, tree.CachedAttribute)
			all[strings.TrimPrefix(path, dir)] = one
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return all
}

// checkDigests holds the files of a copy to their digests, and each name in it to
// having something to say.
func checkDigests(t *testing.T, dir string, attributes map[string]map[string]string) {
	t.Helper()
	files := 0
	for path, all := range attributes {
		digest := all[tree.DigestAttribute]
		if (digest == "") == (all[tree.ManifestDigestAttribute] == "") || all[tree.MediaTypeAttribute] == "" || all[tree.RefAttribute] == "" {
			t.Errorf("%s has %q", path, all)
		}
		if digest == "" {
			continue
		}
		b, err := os.ReadFile(dir + path)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(b)); got != digest || all[tree.SizeAttribute] != fmt.Sprint(len(b)) {
			t.Errorf("%s is %s of %d bytes, its attributes say %s of %s", path, got, len(b), digest, all[tree.SizeAttribute])
		}
		files++
	}
	if files == 0 && attributes["/config.json"] != nil {
		t.Error("no file has its digest")
	}
}
