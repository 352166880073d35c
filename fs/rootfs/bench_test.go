package rootfs

import (
	"archive/tar"
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"
)

// manyEntries yields n entries as a layer has them: directories of a dozen files
// with names of ordinary lengths.
func manyEntries(n int, seed uint64, yield func(Entry)) {
	r := rand.New(rand.NewPCG(seed, 1))
	words := make([]string, 500)
	for i := range words {
		b := make([]byte, 3+r.IntN(12))
		for j := range b {
			b[j] = "abcdefghijklmnopqrstuvwxyz-_0123456789"[r.IntN(38)]
		}
		words[i] = string(b)
	}
	word := func() string { return words[r.IntN(len(words))] }
	when := time.Unix(1_600_000_000, 0)
	data, parent := int64(0), ""
	for i := 0; i < n; i++ {
		e := Entry{Mode: 0o644, ModTime: when}
		switch {
		case i%12 == 0:
			parent = fmt.Sprintf("usr/lib/%s/%s-%d/%s", word(), word(), i, word())
			e.Type, e.Name, e.Mode = tar.TypeDir, parent+"/", 0o755
			data += tarBlock
		case r.IntN(30) == 0:
			e.Type, e.Name, e.Linkname, e.Mode = tar.TypeSymlink, fmt.Sprint(parent, "/", word(), i, ".so"), word(), 0o777
			data += tarBlock
		default:
			e.Type, e.Name = tar.TypeReg, fmt.Sprintf("%s/%s%d.%.3s", parent, word(), i%1000, word())
			e.Size, e.Data = r.Int64N(20_000), data+tarBlock
			data = (e.Data + e.Size + tarBlock - 1) &^ (tarBlock - 1)
			if r.IntN(5) == 0 {
				when = when.Add(time.Duration(r.IntN(1e6)) * time.Second)
			}
		}
		yield(e)
	}
}

func manyTable(t testing.TB, n int, seed uint64) *Table {
	var b TableBuilder
	manyEntries(n, seed, func(e Entry) {
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
	})
	return b.Table()
}

func manyTrees(t testing.TB, layers, entries int) []*LayerTree {
	var trees []*LayerTree
	for i := range layers {
		tree, err := NewLayerTree(manyTable(t, entries/layers, uint64(i%3)), nil)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree)
	}
	return trees
}

// walk looks at all that is below a directory, and at its attributes if they are
// wanted.
func walk(f *Filesystem, dir Node, attrs bool) int {
	n := 0
	for _, c := range f.Children(dir) {
		n++
		if attrs {
			f.Attr(c.Node)
		}
		if c.Node.IsDir() {
			n += walk(f, c.Node, attrs)
		}
	}
	return n
}

const benchEntries = 200_000

func BenchmarkScan(b *testing.B) {
	// Each entry has a kilobyte.
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	content := make([]byte, 1000)
	manyEntries(20_000, 1, func(e Entry) {
		h := &tar.Header{Name: e.Name, Linkname: e.Linkname, Typeflag: e.Type, Mode: e.Mode, ModTime: e.ModTime}
		if e.Type == tar.TypeReg {
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(h); err != nil {
			b.Fatal(err)
		}
		if _, err := w.Write(content[:h.Size]); err != nil {
			b.Fatal(err)
		}
	})
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	b.Run("index", func(b *testing.B) {
		b.SetBytes(int64(archive.Len()))
		for b.Loop() {
			if _, err := Scan(bytes.NewReader(archive.Bytes()), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("archivetar", func(b *testing.B) { // what it is made of
		b.SetBytes(int64(archive.Len()))
		for b.Loop() {
			for r := tar.NewReader(&position{from: bytes.NewReader(archive.Bytes())}); ; {
				if _, err := r.Next(); err != nil {
					break
				}
			}
		}
	})
}

func BenchmarkParseTable(b *testing.B) {
	encoded := manyTable(b, benchEntries, 1).Bytes()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseTable(encoded); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEntries, "ns/entry")
	b.ReportMetric(float64(len(encoded))/benchEntries, "B/entry")
}

func BenchmarkTableEntry(b *testing.B) {
	table := manyTable(b, benchEntries, 1)
	r := rand.New(rand.NewPCG(1, 2))
	for b.Loop() {
		table.Entry(r.IntN(benchEntries))
	}
}

func BenchmarkLayerTree(b *testing.B) {
	table := manyTable(b, benchEntries, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := NewLayerTree(table, nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEntries, "ns/entry")
}

// BenchmarkMerge lays ten layers over each other and looks at every name.
func BenchmarkMerge(b *testing.B) {
	trees := manyTrees(b, 10, benchEntries)
	for _, attrs := range []bool{false, true} {
		b.Run(fmt.Sprint("attributes=", attrs), func(b *testing.B) {
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				f := NewFilesystem(trees, nil)
				n = walk(f, f.Root(), attrs)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/file")
		})
	}
}

// BenchmarkLookup goes from the root to a file, in ten layers.
func BenchmarkLookup(b *testing.B) {
	f := NewFilesystem(manyTrees(b, 10, benchEntries), nil)
	var paths [][]string
	var visit func(dir Node, path []string)
	visit = func(dir Node, path []string) {
		for _, c := range f.Children(dir) {
			here := slices.Concat(path, []string{c.Name})
			if c.Node.IsDir() {
				visit(c.Node, here)
			} else if len(paths) < 10_000 {
				paths = append(paths, here)
			}
		}
	}
	visit(f.Root(), nil)
	r := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		n := f.Root()
		for _, name := range paths[r.IntN(len(paths))] {
			next, ok := f.Lookup(n, name)
			if !ok {
				b.Fatal(name)
			}
			n = next
		}
	}
}

// heap is how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory: a million entries take no more than 64 MiB besides their tables, and
// having looked at all of them no more than that.
func TestMemory(t *testing.T) {
	const entries, layers, limit = 1_000_000, 8, 64 << 20
	var tables []*Table
	encoded := 0
	for i := range layers {
		tables = append(tables, manyTable(t, entries/layers, uint64(i)))
		encoded += len(tables[i].Bytes())
	}
	before := heap()
	var trees []*LayerTree
	for _, table := range tables {
		tree, err := NewLayerTree(table, nil)
		if err != nil {
			t.Fatal(err)
		}
		trees = append(trees, tree)
	}
	f := NewFilesystem(trees, nil)
	built := heap() - before
	files := walk(f, f.Root(), false)
	walked := heap() - before
	t.Logf("%d files: %d bytes of tables for each entry, %d more for each file, %d when all were looked at",
		files, encoded/entries, built/int64(files), walked/int64(files))
	if files < entries*9/10 {
		t.Errorf("only %d files", files)
	}
	if built > limit || walked > limit {
		t.Errorf("%d MiB, and %d when all were looked at", built>>20, walked>>20)
	}
	if encoded > 40*entries {
		t.Errorf("the tables have %d bytes for each entry", encoded/entries)
	}
	runtime.KeepAlive(tables)
	runtime.KeepAlive(f)
}
