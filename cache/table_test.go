package cache

import (
	"math/rand/v2"
	"testing"
)

// TestTable does what a table does beside a map that does the same.
func TestTable(t *testing.T) {
	const n = 3*pageChunks + 5
	random := rand.New(rand.NewPCG(1, 2))
	table := newTable(n)
	present, checked := map[int]uint32{}, map[int]bool{}
	for range 20_000 {
		i := random.IntN(n)
		_, has := present[i]
		switch random.IntN(5) {
		case 0, 1:
			if !has {
				present[i] = random.Uint32()
				table.add(i, present[i])
			}
		case 2:
			table.drop(i)
			delete(present, i)
			delete(checked, i)
		case 3:
			if has {
				table.check(span{i, i + 1})
				checked[i] = true
			}
		case 4:
			if !has {
				table.hold(i, 1)
			}
		}
		i = random.IntN(n - 1)
		crc, has := present[i]
		_, next := present[i+1]
		if table.has(i) != has || has && table.sum(i) != crc || table.missing != n-len(present) {
			t.Fatalf("chunk %d: there %t, want %t", i, table.has(i), has)
		}
		if table.checked(span{i, i + 2}) != (checked[i] && checked[i+1]) {
			t.Fatalf("chunks %d and %d: checked is wrong", i, i+1)
		}
		if _, missing := table.firstMissing(span{i, i + 2}); missing != (!has || !next) {
			t.Fatalf("chunks %d and %d: missing %t", i, i+1, missing)
		}
		if table.held >= 0 && table.has(table.held) {
			t.Fatalf("chunk %d is held and there", table.held)
		}
	}
	table.uncheck()
	table.fill()
	if _, missing := table.firstMissing(span{0, n}); missing || table.missing != 0 || table.held >= 0 {
		t.Error("something is missing of a full table")
	}
	if table.checked(span{0, 1}) {
		t.Error("something is checked")
	}
}
