package mounted

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/gate"
	"github.com/ocidistfs/ocidistfs/internal/layers"
)

// TestDebian is Debian as debootstrap installs it, with dpkg's hard links, set-uid
// programs and devices, and a layer that changes it in each way that there is. Its
// programs run, with their interpreter and libraries mapped from the mount.
func TestDebian(t *testing.T) {
	m := Start(t, module, "--exec")
	before, after := filepath.Join(m.Dir, "before"), filepath.Join(m.Dir, "after")
	installDebian(t, before)
	run(t, "cp", "-a", before, after)
	changeSystem(t, after)
	for _, root := range m.compare(t, encodings(), packed(t, m, before), diffed(t, m, before, after)) {
		if said := output(t, "chroot", root, "/bin/sh", "-c", "cat /etc/dpkg/new"); said != "new\n" {
			t.Errorf("cat says %q", said)
		}
	}
}

// TestBusybox is an image of one program with hundreds of names, and one layer above
// that takes some of them away. It also runs.
func TestBusybox(t *testing.T) {
	m := Start(t, module, "--exec")
	program, err := exec.LookPath("busybox")
	if err != nil {
		gate.Missing(t, "busybox is not installed: %v", err)
	}
	system := filepath.Join(m.Dir, "system")
	run(t, "mkdir", "-p", system+"/bin", system+"/etc", system+"/root", system+"/tmp")
	run(t, "cp", program, system+"/bin/busybox")
	for applet := range strings.Lines(output(t, program, "--list")) {
		// Some are scripts' names, and one may be that of the program.
		if err := os.Link(system+"/bin/busybox", system+"/bin/"+strings.TrimSpace(applet)); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
	}
	run(t, "chmod", "1777", system+"/tmp")
	base := packed(t, m, system)
	changed := filepath.Join(m.Dir, "changed")
	run(t, "cp", "-a", system, changed)
	run(t, "rm", changed+"/bin/vi", changed+"/bin/ls")
	run(t, "ln", "-s", "busybox", changed+"/bin/ls")
	for _, root := range m.compare(t, encodings(), base, diffed(t, m, system, changed)) {
		if said := output(t, "chroot", root, "/bin/sh", "-c", "test ! -e /bin/vi && exec /bin/ls -l /bin/ls"); !strings.Contains(said, "/bin/ls -> busybox") {
			t.Errorf("ls says %q", said)
		}
	}
}

// TestManyFiles is an image of 200,000 files, a hundred to a directory, of which the
// layer above replaces and removes some.
func TestManyFiles(t *testing.T) {
	m := Start(t, module)
	files := 200_000
	if Smoke() {
		files = 20_000
	}
	random := rand.New(rand.NewPCG(1, 1))
	base := written(t, m, "base", func(add func(tar.Header, []byte)) {
		for i := range files {
			addParents(add, i)
			if i%100 == 0 {
				add(tar.Header{Name: directory(i), Typeflag: tar.TypeDir, Mode: 0o755}, nil)
			}
			add(tar.Header{Name: fmt.Sprint(directory(i), i), Typeflag: tar.TypeReg, Mode: 0o644, Uid: i % 7}, text(random))
		}
	})
	above := written(t, m, "above", func(add func(tar.Header, []byte)) {
		for i := 0; i < files; i += 1000 {
			addParents(add, i)
			add(tar.Header{Name: directory(i), Typeflag: tar.TypeDir, Mode: 0o700}, nil)
			add(tar.Header{Name: fmt.Sprint(directory(i), ".wh.", i+1), Typeflag: tar.TypeReg}, nil)
			add(tar.Header{Name: fmt.Sprint(directory(i), i+2), Typeflag: tar.TypeReg, Mode: 0o600}, text(random))
			add(tar.Header{Name: fmt.Sprint(directory(i), "link"), Typeflag: tar.TypeLink, Linkname: fmt.Sprint(directory(i), i+2), Mode: 0o600}, nil)
		}
	})
	some := encodings()
	if len(some) > 1 {
		// One that is read to be listed, and one that brings a list: so many files take minutes.
		some = []layers.Encoding{layers.Gzip, layers.ZstdChunked}
	}
	m.compare(t, some, base, above)
}

// addParents adds the directories above that of a file, as who makes layers does, where
// it is the first in them. containerd gives those without an entry the time at which it
// made them.
func addParents(add func(tar.Header, []byte), i int) {
	if i == 0 {
		add(tar.Header{Name: "srv/", Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
	if i%10_000 == 0 {
		add(tar.Header{Name: fmt.Sprintf("srv/%d/", i/10_000), Typeflag: tar.TypeDir, Mode: 0o755}, nil)
	}
}

func directory(i int) string { return fmt.Sprintf("srv/%d/%d/", i/10_000, i/100) }

func text(random *rand.Rand) []byte {
	return bytes.Repeat([]byte(fmt.Sprint(random.Uint64())), random.IntN(50))
}

// written writes an archive, and returns its path.
func written(t *testing.T, m *Mount, name string, write func(add func(tar.Header, []byte))) string {
	t.Helper()
	f, err := os.Create(filepath.Join(m.Dir, name+".tar"))
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(f)
	seconds := int64(1_700_000_000)
	add := func(h tar.Header, data []byte) {
		seconds++
		h.Size, h.ModTime = int64(len(data)), time.Unix(seconds, 0)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	write(add)
	if err := errors.Join(w.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// packed is a directory as a layer, by tar.
func packed(t *testing.T, m *Mount, dir string) string {
	t.Helper()
	path := filepath.Join(m.Dir, filepath.Base(dir)+".tar")
	run(t, "tar", "-c", "-f", path, "--format=posix", "--numeric-owner", "--xattrs", "--xattrs-include=*", "-C", dir, ".")
	return path
}

// diffed is the layer by which a directory becomes another, by containerd.
func diffed(t *testing.T, m *Mount, before, after string) string {
	t.Helper()
	path := filepath.Join(m.Dir, "diff.tar")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), Unpack(t, module), "diff", before, after)
	c.Stdout, c.Stderr = f, os.Stderr
	if err := errors.Join(c.Run(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path
}

// encodings are those in which images are looked at: all, or one in the short form.
func encodings() []layers.Encoding {
	if Smoke() {
		return []layers.Encoding{layers.Gzip}
	}
	return layers.All()
}

// compare compares what a mount shows of layers with what containerd unpacks of them,
// by diff and find. It returns where the former is, of each encoding.
func (m *Mount) compare(t *testing.T, encodings []layers.Encoding, archives ...string) (roots []string) {
	t.Helper()
	program := Unpack(t, module)
	for _, e := range encodings {
		t.Run(e.Name, func(t *testing.T) {
			var stored []layers.Layer
			for _, path := range archives {
				plain, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				l, err := e.Encode(plain)
				if err != nil {
					t.Fatal(err)
				}
				stored = append(stored, l)
			}
			root, err := m.Image(stored...)
			if err != nil {
				t.Fatal(err)
			}
			roots = append(roots, root)
			unpacked := func(command ...string) []string {
				all := slices.Concat([]string{program, "overlay"}, archives)
				if len(command) > 0 {
					all = slices.Concat(all, []string{"--"}, command)
				}
				return all
			}
			said, listed := diff(t, m.Dir, unpacked, root)
			want, got := sorted(listed, e), sorted(output(t, find(root+"/.")...), e)
			if len(want) < 100 {
				t.Errorf("only %d files are there", len(want))
			}
			if d := difference(got, want); len(d) > 0 {
				t.Errorf("%d lines of find differ:\n%s", len(d), strings.Join(d[:min(len(d), 40)], "\n"))
			}
			if len(said) > 0 {
				t.Errorf("%d lines of diff:\n%s", len(said), strings.Join(said[:min(len(said), 40)], "\n"))
			}
			if len(want) > maxListed {
				return
			}
			if d := difference(attributes(t, program, "list", root+"/"), attributes(t, unpacked()...)); len(d) > 0 {
				t.Errorf("%d extended attributes differ:\n%s", len(d), strings.Join(d[:min(len(d), 40)], "\n"))
			}
		})
	}
	return roots
}

// maxListed is how many files are read once more for their extended attributes: where
// there are more they have none.
const maxListed = 50_000

// alike is what diff says of special files, which it does not compare; find does.
var alike = regexp.MustCompile(`(?s)^File .* is a (character special file|block special file|fifo) while file .* is a (character special file|block special file|fifo)\n$`)

// diff runs diff where the layers are unpacked, and returns what it says. Before, it has
// find list what is there.
func diff(t *testing.T, dir string, unpacked func(...string) []string, root string) (lines []string, listed string) {
	t.Helper()
	list := filepath.Join(dir, "listed")
	command := unpacked(append([]string{"sh", "-c", `"$@" >"$0" && exec diff -r --no-dereference . ` + root + "/", list}, find(".")...)...)
	var said strings.Builder
	c := exec.CommandContext(t.Context(), command[0], command[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	c.Stdout, c.Stderr = &said, &said
	err := c.Run()
	for line := range strings.Lines(said.String()) {
		if kinds := alike.FindStringSubmatch(line); kinds == nil || kinds[1] != kinds[2] {
			lines = append(lines, line)
		}
	}
	// It ends with 1 where files differ, and that is what the lines are.
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
		lines = append(lines, fmt.Sprintf("diff: %v", err))
	}
	b, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	return lines, string(b)
}

// attributes are the extended attributes of all files that have any, as internal/unpack
// lists them, but for trusted ones and those that say where a file is from.
func attributes(t *testing.T, command ...string) (lines []string) {
	t.Helper()
	var files []struct {
		Name   []byte
		Xattrs map[string][]byte
	}
	if err := json.Unmarshal([]byte(output(t, command...)), &files); err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		maps.DeleteFunc(f.Xattrs, func(name string, _ []byte) bool { return strings.HasPrefix(name, "user.oci.") })
		if len(f.Xattrs) > 0 {
			lines = append(lines, fmt.Sprintf("%q %q", f.Name, f.Xattrs)) // of a map in order
		}
	}
	slices.Sort(lines)
	return lines
}

// find prints of each file in a directory its path, type, mode, owner, size, time, target
// and number of links. The size of a directory and its links mean something else in
// each file system, and what the root is like no layer says.
func find(dir string) []string {
	return []string{
		"find", dir, "-mindepth", "1",
		"-type", "d", "-printf", "%P %y %m %U %G %T@\n", "-o", "-printf", "%P %y %m %U %G %s %T@ %l %n\n",
	}
}

// aTime is a time as find prints it.
var aTime = regexp.MustCompile(` (\d+)\.(\d)\d{9}\b`)

// sorted are the lines of what find has printed, in the order of their bytes, with
// times as precise as the encoding has them.
func sorted(text string, e layers.Encoding) (lines []string) {
	for line := range strings.Lines(text) {
		if at := aTime.FindStringSubmatchIndex(line); at != nil && e.Seconds {
			seconds, err := strconv.ParseInt(line[at[2]:at[3]], 10, 64)
			if err == nil && line[at[4]] >= '5' {
				seconds++
			}
			line = fmt.Sprint(line[:at[2]], seconds, line[at[1]:])
		}
		lines = append(lines, line)
	}
	slices.Sort(lines)
	return lines
}

// difference is what only one of two sorted lists has.
func difference(mount, unpacked []string) (lines []string) {
	for len(mount) > 0 || len(unpacked) > 0 {
		switch {
		case len(unpacked) == 0 || len(mount) > 0 && mount[0] < unpacked[0]:
			lines, mount = append(lines, "mount:    "+mount[0]), mount[1:]
		case len(mount) == 0 || unpacked[0] < mount[0]:
			lines, unpacked = append(lines, "unpacked: "+unpacked[0]), unpacked[1:]
		default:
			mount, unpacked = mount[1:], unpacked[1:]
		}
	}
	return lines
}

// run runs a program that has to succeed.
func run(t *testing.T, args ...string) {
	t.Helper()
	_ = output(t, args...)
}

// output is what it writes.
func output(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	var said strings.Builder
	c := exec.CommandContext(t.Context(), args[0], args[1:]...)
	c.Env = append(os.Environ(), "LC_ALL=C")
	c.Stdout, c.Stderr = &out, &said
	if err := c.Run(); err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, &said)
	}
	return out.String()
}
