//go:build linux

package fs

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/internal/gate"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// A testOrigin has files in it whose names are their numbers.
type testOrigin struct{ name string }

// A testInner is one of them.
type testInner struct {
	tree.Attributed
	from   *testOrigin
	number uint64
}

func (o *testOrigin) Inner(number uint64) tree.Inner {
	return testInner{from: o, number: number}
}

func (o *testOrigin) Path(number uint64) string { return fmt.Sprint(o.name, "/", number) }

func (i testInner) Origin() (tree.Origin, uint64) { return i.from, i.number }

// TestInnersCount: an image is held as long as the kernel knows a file of it, and node IDs of one
// are never those of another.
func TestInnersCount(t *testing.T) {
	x := newInners()
	one, two := &testOrigin{"one"}, &testOrigin{"two"}
	const most = 1<<numberBits - 1
	a, b := x.add(testInner{from: one, number: 0}), x.add(testInner{from: one, number: most})
	c := x.add(testInner{from: two, number: most})
	if again := x.add(testInner{from: one, number: 0}); again != a {
		t.Errorf("one file has the IDs %x and %x", a, again)
	}
	for id, want := range map[uint64]testInner{a: {from: one}, b: {from: one, number: most}, c: {from: two, number: most}} {
		if got := x.node(id); got != want || !isInner(id) {
			t.Errorf("%x is %v, want %v", id, got, want)
		}
	}
	x.forget(a, 1)
	x.forget(b, 1)
	if x.node(b) == nil { // there is one more of a
		t.Error("an image is gone of which the kernel knows a file")
	}
	x.forget(a, 1)
	if x.node(a) != nil || x.node(c) == nil {
		t.Error("not the one image is gone that the kernel knows nothing of")
	}
	x.forget(a, 1) // as nothing, where the kernel errs
	if d := x.add(testInner{from: one, number: 0}); d == c || d>>numberBits == c>>numberBits {
		t.Errorf("another image has the ID %x, as %x", d, c)
	}
	x.last = maxSlot - 1
	for range 4 {
		id := x.add(testInner{from: &testOrigin{}, number: 1})
		if id>>numberBits == c>>numberBits || !isInner(id) {
			t.Errorf("when the numbers begin anew, an image has that of another: %x", id)
		}
	}
}

func TestInnersAtOnce(t *testing.T) {
	x := newInners()
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 2000 {
				id := x.add(testInner{from: sharedOrigins[(worker+i)%2], number: uint64(i)})
				if x.node(id) == nil {
					t.Error("a file is not known that the kernel was told of")
				}
				x.forget(id, 1)
			}
		})
	}
	all.Wait()
	if len(x.slots)+len(x.images) != 0 {
		t.Errorf("%d and %d images are left", len(x.slots), len(x.images))
	}
}

var sharedOrigins = [2]*testOrigin{{"a"}, {"b"}}

// TestRefusedOfInner: whatever is asked of a file in an image ends with an answer of its own, and
// does not come to go-fuse, which knows none of them.
func TestRefusedOfInner(t *testing.T) {
	k := &kernel{mount: &mount{inners: newInners()}, reclaimer: newReclaimer(func() {})} // to ask go-fuse would be a panic
	header := fuse.InHeader{NodeId: innerBit | 1}
	for name, ask := range map[string]func() fuse.Status{
		"lookup":    func() fuse.Status { return k.Lookup(nil, &header, "a", nil) },
		"getattr":   func() fuse.Status { return k.GetAttr(nil, &fuse.GetAttrIn{InHeader: header}, nil) },
		"statx":     func() fuse.Status { return k.Statx(nil, &fuse.StatxIn{InHeader: header}, nil) },
		"readlink":  func() fuse.Status { _, s := k.Readlink(nil, &header); return s },
		"access":    func() fuse.Status { return k.Access(nil, &fuse.AccessIn{InHeader: header}) },
		"statfs":    func() fuse.Status { return k.StatFs(nil, &header, nil) },
		"getxattr":  func() fuse.Status { _, s := k.GetXAttr(nil, &header, "a", nil); return s },
		"listxattr": func() fuse.Status { _, s := k.ListXAttr(nil, &header, nil); return s },
		"open":      func() fuse.Status { return k.Open(nil, &fuse.OpenIn{InHeader: header}, nil) },
		"read":      func() fuse.Status { _, s := k.Read(nil, &fuse.ReadIn{InHeader: header}, nil); return s },
		"lseek":     func() fuse.Status { return k.Lseek(nil, &fuse.LseekIn{InHeader: header}, nil) },
		"setattr": func() fuse.Status {
			return k.SetAttr(nil, &fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{InHeader: header}}, nil)
		},
		"link":        func() fuse.Status { return k.Link(nil, &fuse.LinkIn{Oldnodeid: header.NodeId}, "a", nil) },
		"setxattr":    func() fuse.Status { return k.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: header}, "a", nil) },
		"removexattr": func() fuse.Status { return k.RemoveXAttr(nil, &header, "a") },
		"write":       func() fuse.Status { _, s := k.Write(nil, &fuse.WriteIn{InHeader: header}, nil); return s },
		"writev":      func() fuse.Status { _, s := k.Writev(nil, &fuse.WriteIn{InHeader: header}, nil); return s },
		"fallocate":   func() fuse.Status { return k.Fallocate(nil, &fuse.FallocateIn{InHeader: header}) },
		"copy from":   func() fuse.Status { _, s := k.CopyFileRange(nil, &fuse.CopyFileRangeIn{InHeader: header}); return s },
		"copy to": func() fuse.Status {
			_, s := k.CopyFileRange(nil, &fuse.CopyFileRangeIn{NodeIdOut: header.NodeId})
			return s
		},
		"ioctl":  func() fuse.Status { return k.Ioctl(nil, &fuse.IoctlIn{InHeader: header}, nil, nil, nil) },
		"getlk":  func() fuse.Status { return k.GetLk(nil, &fuse.LkIn{InHeader: header}, nil) },
		"setlk":  func() fuse.Status { return k.SetLk(nil, &fuse.LkIn{InHeader: header}) },
		"setlkw": func() fuse.Status { return k.SetLkw(nil, &fuse.LkIn{InHeader: header}) },
	} {
		if status := ask(); status == fuse.OK {
			t.Errorf("%s succeeds for a file that there is not", name)
		}
	}
	for name, ask := range map[string]func() fuse.Status{
		"flush": func() fuse.Status { return k.Flush(nil, &fuse.FlushIn{InHeader: header}) },
		"fsync": func() fuse.Status { return k.Fsync(nil, &fuse.FsyncIn{InHeader: header}) },
	} {
		if status := ask(); status != fuse.OK {
			t.Errorf("%s is %v", name, status)
		}
	}
	k.Release(nil, &fuse.ReleaseIn{InHeader: header})
	k.Forget(header.NodeId, 1)
}

// TestInnerFilesOnMount: files in images are looked up, listed, read and closed as others are, of
// several images at once, and by all their names.
func TestInnerFilesOnMount(t *testing.T) {
	m := mountRegistry(t, Options{})
	var roots []string
	for i := range 3 {
		roots = append(roots, m.pushRootfs(t, fmt.Sprint("app", i),
			registrytest.Regular("d/a", fmt.Sprint("a of ", i)), registrytest.Regular("d/b", ""),
			registrytest.Member{Header: tar.Header{Typeflag: tar.TypeLink, Name: "e/also", Linkname: "d/a"}},
			registrytest.Member{Header: tar.Header{Typeflag: tar.TypeReg, Name: "none", Mode: 0}, Content: "x"},
			registrytest.Member{Header: tar.Header{Typeflag: tar.TypeDir, Name: "shut", Mode: 0}}))
	}
	for i, root := range roots {
		for _, name := range []string{"/d/a", "/e/also"} {
			if got, want := run(t, "cat", root+name), fmt.Sprint("a of ", i); got != want {
				t.Errorf("%s%s is %q, want %q", root, name, got, want)
			}
		}
		if got := run(t, "stat", "--format", "%a", root+"/none", root+"/shut"); got != "0\n0\n" {
			t.Errorf("modes that are 0 are %q", got)
		}
		if got := run(t, "sh", "-c", "find "+root+"/ -ls | wc -l"); got != "8\n" {
			t.Errorf("find has %s lines", got)
		}
		if out, err := try(t, "cat", root+"/d/a/x"); err == nil || !strings.Contains(out, "Not a directory") {
			t.Errorf("below a file: %v, %q", err, out)
		}
	}
	if got := run(t, "sh", "-c", "cmp -n 1 "+strings.Join([]string{roots[0] + "/d/a", roots[1] + "/d/a"}, " ")+" && sync "+roots[2]+"/d/b && grep -c of "+roots[2]+"/e/also"); got != "1\n" {
		t.Errorf("it is %q", got)
	}
	if got := m.errors(t); got != "" {
		t.Errorf("errors are %s", got)
	}
}

// TestInnersForgotten: what the kernel has dropped it looks up anew, while some of it is open.
func TestInnersForgotten(t *testing.T) {
	if os.Geteuid() != 0 {
		gate.Missing(t, "only root mounts anew")
	}
	m := mountRegistry(t, Options{})
	root := m.pushRootfs(t, "app", registrytest.Regular("d/a", strings.Repeat("content", 100_000)), registrytest.Regular("d/b", "1"))
	reading := exec.Command("sh", "-c", `exec 3<"$1"; echo open; read go; wc -c <&3`, "sh", root+"/d/a")
	in, err := reading.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := reading.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := reading.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() }) // it would keep the mount in use
	said := bufio.NewReader(out)
	if line, err := said.ReadString('\n'); err != nil || line != "open\n" {
		t.Errorf("it says %q, %v", line, err)
	}
	listed := run(t, "find", root+"/", "-ls")
	for range 2 {
		// This drops the names that nobody uses. By the newer system calls FUSE takes none.
		run(t, "env", "LIBMOUNT_FORCE_MOUNT2=always", "mount", "-i", "-o", "remount,ro", m.dir)
		if again := run(t, "find", root+"/", "-ls"); again != listed {
			t.Errorf("find has %s, and had %s", again, listed)
		}
		if got := run(t, "cat", root+"/d/b"); got != "1" {
			t.Errorf("b is %q", got)
		}
	}
	if _, err := io.WriteString(in, "go\n"); err != nil {
		t.Error(err)
	}
	if line, err := said.ReadString('\n'); err != nil || line != "700000\n" {
		t.Errorf("what was open has %q bytes, %v", line, err)
	}
	if err := reading.Wait(); err != nil {
		t.Error(err)
	}
}

// TestInnerFileError: what fails of a file in an image is told by where the file is.
func TestInnerFileError(t *testing.T) {
	m := &mount{errors: NewErrorLog(nil), inners: newInners()}
	n := node{mount: m, tree: testInner{from: &testOrigin{"host/app"}, number: 7}}
	m.errors.Add(n.path(), errors.New("broken"))
	if e, ok := n.lastError(); !ok || !strings.Contains(e.line(), "host/app/7") {
		t.Errorf("the last error is %v, %t", e, ok)
	}
	if n.path() != "host/app/7" {
		t.Errorf("the path is %s", n.path())
	}
}
