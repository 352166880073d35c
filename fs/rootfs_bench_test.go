//go:build linux

package fs

import (
	"archive/tar"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// benchFiles are members of an image: so many files in directories of a hundred, whose contents
// compress to about a third.
func benchFiles(files, size int) []registrytest.Member {
	random := rand.New(rand.NewPCG(1, 2))
	letters := make([]byte, size+1<<16)
	for i := range letters {
		letters[i] = "etaoinshrdlu \n01"[random.IntN(16)&random.IntN(16)]
	}
	var all []registrytest.Member
	for i := range files {
		if i%100 == 0 {
			all = append(all, registrytest.Member{Header: tar.Header{Typeflag: tar.TypeDir, Name: fmt.Sprintf("usr/d%04d", i/100), Mode: 0o755}})
		}
		from := random.IntN(1 << 16)
		all = append(all, registrytest.Regular(fmt.Sprintf("usr/d%04d/file%06d", i/100, i), string(letters[from:from+size])))
	}
	return append(all, registrytest.Regular("etc/os-release", "ID=bench\n"))
}

// besides has the same files in a directory.
func besides(b *testing.B, root string) string {
	b.Helper()
	dir := b.TempDir()
	run(b, "sh", "-c", "tar c -C "+root+" . | tar x -C "+dir)
	return dir
}

// BenchmarkRootfs: what is warm takes beside the same on a disk's directory.
func BenchmarkRootfs(b *testing.B) {
	for _, size := range []struct{ files, bytes int }{{20_000, 0}, {5_000, 8 << 10}, {100, 1 << 20}} {
		m := mountRegistry(b, Options{})
		root := m.pushRootfs(b, "app", benchFiles(size.files, size.bytes)...) + "/"
		name := fmt.Sprintf("%dx%d", size.files, size.bytes)
		b.Run("FirstLook/"+name, func(b *testing.B) {
			for b.Loop() {
				run(b, "cat", root+"etc/os-release")
			}
		})
		disk := besides(b, root)
		for _, work := range []string{"find %s -ls | wc -l", "tar c -C %s . | wc -c"} {
			verb, _, _ := strings.Cut(work, " ")
			for where, dir := range map[string]string{"image": root, "disk": disk} {
				b.Run(verb+"/"+name+"/"+where, func(b *testing.B) {
					run(b, "sh", "-c", fmt.Sprintf(work, dir))
					for b.Loop() {
						run(b, "sh", "-c", fmt.Sprintf(work, dir))
					}
				})
			}
		}
		_ = os.RemoveAll(filepath.Clean(disk))
	}
}
