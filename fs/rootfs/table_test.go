package rootfs

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"
)

// randomEntry makes an entry of any kind, most often much like the last.
func randomEntry(r *rand.Rand, last Entry) Entry {
	e := Entry{
		Type:    byte('0' + r.IntN(7)),
		Name:    last.Name[:r.IntN(len(last.Name)+1)] + fmt.Sprintf("%x/\xff%d", r.IntN(4), r.IntN(100)),
		Mode:    last.Mode,
		UID:     last.UID,
		GID:     last.GID,
		ModTime: last.ModTime,
	}
	if len(e.Name) > 300 {
		e.Name = e.Name[250:]
	}
	switch r.IntN(12) {
	case 0:
		e.Mode = r.Int64N(1 << 12)
	case 1:
		e.UID, e.GID = r.Int(), -r.Int()
	case 2:
		e.ModTime = time.Unix(r.Int64N(1<<40)-1<<39, r.Int64N(1e9))
	case 3:
		e.Xattrs = []Xattr{{"security.capability", "\x00\x01"}, {"user.x", strings.Repeat("v", r.IntN(40))}}
	}
	switch e.Type {
	case tar.TypeReg:
		e.Size = r.Int64N(1 << uint(1+r.IntN(40)))
		e.Data = (last.Data + last.Stored() + tarBlock - 1) &^ (tarBlock - 1)
		e.Data += tarBlock * (1 + r.Int64N(1+r.Int64N(4)))
		if r.IntN(20) == 0 {
			e.Extents = []Extent{{0, e.Size / 4}, {e.Size / 2, e.Size / 8}}
		}
	case tar.TypeLink, tar.TypeSymlink:
		e.Linkname = e.Name[:r.IntN(len(e.Name))] + "target"
	case tar.TypeChar, tar.TypeBlock:
		e.Devmajor, e.Devminor = r.Int64N(1<<32), r.Int64N(1<<32)
	}
	return e
}

func randomTable(t testing.TB, r *rand.Rand, n int) ([]Entry, *Table) {
	var b TableBuilder
	var entries []Entry
	last := Entry{}
	for range n {
		e := randomEntry(r, last)
		if err := b.Add(e); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, e)
		last = e
	}
	return entries, b.Table()
}

// equalEntries compares entries; that of times knows no zones.
func equalEntries(a, b Entry) bool {
	same := a.ModTime.Equal(b.ModTime)
	a.ModTime, b.ModTime = time.Time{}, time.Time{}
	return same && reflect.DeepEqual(a, b)
}

func TestTable(t *testing.T) {
	for _, n := range []int{0, 1, blockEntries - 1, blockEntries, blockEntries + 1, 5000} {
		r := rand.New(rand.NewPCG(uint64(n), 1))
		entries, built := randomTable(t, r, n)
		parsed, err := ParseTable(built.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		for _, table := range []*Table{built, parsed} {
			if table.Len() != n {
				t.Fatalf("%d entries, not %d", table.Len(), n)
			}
			for i, e := range table.All() {
				if !equalEntries(e, entries[i]) {
					t.Fatalf("entry %d of %d:\n%+v, not\n%+v", i, n, e, entries[i])
				}
			}
			for range n {
				if i := r.IntN(n); !equalEntries(table.Entry(i), entries[i]) {
					t.Fatalf("entry %d of %d:\n%+v, not\n%+v", i, n, table.Entry(i), entries[i])
				}
			}
		}
		if !bytes.Equal(parsed.Bytes(), built.Bytes()) {
			t.Errorf("the table of %d entries is not what it was read from", n)
		}
	}
}

// TestTableDamage: a table that is cut short or has another byte is an error or
// is still a table, each entry of which can be read and added to another one.
func TestTableDamage(t *testing.T) {
	_, table := randomTable(t, rand.New(rand.NewPCG(1, 2)), blockEntries+4)
	whole := table.Bytes()
	for i := range whole {
		if _, err := ParseTable(whole[:i]); err == nil {
			t.Errorf("the first %d of %d bytes are a table", i, len(whole))
		}
		for bit := range 8 {
			damaged := bytes.Clone(whole)
			damaged[i] ^= 1 << bit
			if table, err := ParseTable(damaged); err == nil {
				rebuild(t, table)
			}
		}
	}
	if _, err := ParseTable(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("a byte more is a table")
	}
}

// rebuild makes a table of another's entries, which has to be the same.
func rebuild(t testing.TB, table *Table) {
	var b TableBuilder
	for i, e := range table.All() {
		if err := b.Add(e); err != nil {
			t.Fatalf("entry %d: %v", i, err)
		}
		if !equalEntries(e, table.Entry(i)) {
			t.Fatalf("entry %d is another one when it is looked up", i)
		}
	}
	again, err := ParseTable(b.Table().Bytes())
	if err != nil || again.Len() != table.Len() {
		t.Fatalf("built again: %v", err)
	}
	for i, e := range again.All() {
		if !equalEntries(e, table.Entry(i)) {
			t.Fatalf("entry %d, built again:\n%+v, not\n%+v", i, e, table.Entry(i))
		}
	}
}

func FuzzParseTable(f *testing.F) {
	for seed := range uint64(4) {
		_, table := randomTable(f, rand.New(rand.NewPCG(seed, 3)), 10+int(seed))
		f.Add(table.Bytes())
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var table *Table
		var err error
		allocates(t, b, 1<<20, 64, func() { table, err = ParseTable(b) })
		if err == nil {
			rebuild(t, table)
		}
	})
}

func TestEntryLimits(t *testing.T) {
	long := strings.Repeat("x", MaxName)
	many := make([]Xattr, 20)
	for i := range many {
		many[i] = Xattr{fmt.Sprint("user.", 10+i), strings.Repeat("v", MaxXattr)}
	}
	holes := make([]Extent, MaxExtents+1)
	for i := range holes {
		holes[i] = Extent{int64(2 * i), 1}
	}
	file := func(change func(e *Entry)) Entry {
		e := Entry{Name: "file", Type: tar.TypeReg, Size: 1 << 30}
		change(&e)
		return e
	}
	for _, c := range []struct {
		name string
		e    Entry
		ok   bool
	}{
		{"plain", file(func(*Entry) {}), true},
		{"longest name", file(func(e *Entry) { e.Name = long }), true},
		{"name too long", file(func(e *Entry) { e.Name = long + "x" }), false},
		{"NUL", file(func(e *Entry) { e.Name = "a\x00b" }), false},
		{"NUL in target", Entry{Name: "l", Type: tar.TypeSymlink, Linkname: "a\x00"}, false},
		{"longest target", Entry{Name: "l", Type: tar.TypeSymlink, Linkname: long[1:]}, true},
		{"target too long", Entry{Name: "l", Type: tar.TypeSymlink, Linkname: long}, false},
		{"deepest", file(func(e *Entry) { e.Name = strings.Repeat("/a", MaxDepth) }), true},
		{"too deep", file(func(e *Entry) { e.Name = strings.Repeat("a/", MaxDepth+1) }), false},
		{"many slashes are no depth", file(func(e *Entry) { e.Name = "a" + strings.Repeat("/", MaxDepth+1) }), true},
		{"unknown type", Entry{Name: "v", Type: 'V'}, false},
		{"contiguous is regular only for the scanner", Entry{Name: "v", Type: tar.TypeCont}, false},
		{"negative size", file(func(e *Entry) { e.Size = -1 }), false},
		{"end out of range", file(func(e *Entry) { e.Data = 1<<63 - 1 }), false},
		{"device out of range", Entry{Name: "d", Type: tar.TypeChar, Devminor: 1 << 32}, false},
		{"negative device", Entry{Name: "d", Type: tar.TypeBlock, Devmajor: -1}, false},
		{"attribute", file(func(e *Entry) { e.Xattrs = many[:1] }), true},
		{"large attribute", file(func(e *Entry) { e.Xattrs = []Xattr{{"user.x", strings.Repeat("v", MaxXattr+1)}} }), false},
		{"large attributes", file(func(e *Entry) { e.Xattrs = many }), false},
		{"no name of an attribute", file(func(e *Entry) { e.Xattrs = []Xattr{{"", "v"}} }), false},
		{"long name of an attribute", file(func(e *Entry) { e.Xattrs = []Xattr{{long, "v"}} }), false},
		{"holes", file(func(e *Entry) { e.Extents = holes[:MaxExtents] }), true},
		{"too many holes", file(func(e *Entry) { e.Extents = holes }), false},
		{"overlapping", file(func(e *Entry) { e.Extents = []Extent{{0, 5}, {4, 1}} }), false},
		{"past the end", file(func(e *Entry) { e.Extents = []Extent{{1 << 30, 1}} }), false},
		{"far past the end", file(func(e *Entry) { e.Extents = []Extent{{1, 1<<63 - 1}} }), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b TableBuilder
			err := b.Add(c.e)
			var hidden *EntryError
			if c.ok && err != nil || !c.ok && !errors.As(err, &hidden) {
				t.Errorf("Add: %v", err)
			}
			if want := 0; b.Table().Len() != want && !c.ok {
				t.Errorf("%d entries, not %d", b.Table().Len(), want)
			}
			if !c.ok {
				return
			}
			parsed, err := ParseTable(b.Table().Bytes())
			if err != nil || !equalEntries(parsed.Entry(0), c.e) {
				t.Errorf("parsed: %v", err)
			}
		})
	}
}

func TestXattrsAreNormalized(t *testing.T) {
	var b TableBuilder
	if err := b.Add(Entry{Name: "f", Type: tar.TypeReg, Xattrs: []Xattr{
		{"user.b", "1"}, {"trusted.overlay.opaque", "y"}, {"user.a", "2"}, {"user.b", "3"}, {"trusted.other", "4"},
	}}); err != nil {
		t.Fatal(err)
	}
	want := []Xattr{{"trusted.other", "4"}, {"user.a", "2"}, {"user.b", "3"}}
	if got := b.Table().Entry(0).Xattrs; !reflect.DeepEqual(got, want) {
		t.Errorf("%q, not %q", got, want)
	}
}

func TestTooManyEntries(t *testing.T) {
	b := TableBuilder{n: MaxEntries}
	if err := b.Add(Entry{Name: "f", Type: tar.TypeReg}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	b = TableBuilder{records: make([]byte, MaxTable-100)}
	if err := b.Add(Entry{Name: "f", Type: tar.TypeReg}); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
}
