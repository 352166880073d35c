package cache

import (
	"slices"
	"sort"
)

const (
	// pieceSize is the unit in which plain bytes are checked: few enough for one who
	// reads four kilobytes, and a record is a 4,000th of it. Pieces do not cross its
	// multiples; they are shorter where what was made begins or ends between these.
	pieceSize = 64 << 10
	// piecePage is how many plain bytes a page of the table is of.
	piecePage = 16 << 20
)

// A plainPiece is a run of plain bytes that are there. 12 bytes each: a layer of ten
// gigabytes has two million of them where it is all small files.
type plainPiece struct {
	at  uint32 // from the beginning of its page
	n   uint32 // bytes, and pieceChecked
	crc uint32
}

// pieceChecked is set of a piece that is known to match its sum.
const pieceChecked = 1 << 31

func (p plainPiece) end() uint32   { return p.at + p.n&^pieceChecked }
func (p plainPiece) checked() bool { return p.n&pieceChecked != 0 }

// plainPieces says which plain bytes are there. Each page has its pieces in order, and
// none has bytes of another.
type plainPieces struct{ pages [][]plainPiece }

// page returns the pieces of the page of an offset, and where it begins.
func (t *plainPieces) page(off int64) (pieces []plainPiece, start int64) {
	if i := off / piecePage; i < int64(len(t.pages)) {
		pieces = t.pages[i]
	}
	return pieces, off / piecePage * piecePage
}

// find returns the number of the piece of a page that has a byte, or of the first
// behind it.
func find(pieces []plainPiece, at uint32) int {
	return sort.Search(len(pieces), func(i int) bool { return pieces[i].end() > at })
}

// add takes note of n bytes at off. Those that were known of these are forgotten.
// What is no piece, or not within size bytes, is left out.
func (t *plainPieces) add(off int64, n int, crc uint32, size int64) {
	if off < 0 || n <= 0 || off%pieceSize+int64(n) > pieceSize || off+int64(n) > size {
		return
	}
	for int64(len(t.pages)) <= off/piecePage {
		t.pages = append(t.pages, nil)
	}
	pieces, start := t.page(off)
	at := uint32(off - start)
	from := find(pieces, at)
	to := from
	for to < len(pieces) && pieces[to].at < at+uint32(n) {
		to++
	}
	t.pages[off/piecePage] = slices.Replace(pieces, from, to, plainPiece{at, uint32(n), crc})
}

// drop forgets the piece that has the byte at off.
func (t *plainPieces) drop(off int64) {
	pieces, start := t.page(off)
	at := uint32(off - start)
	if i := find(pieces, at); i < len(pieces) && pieces[i].at <= at {
		t.pages[off/piecePage] = slices.Delete(pieces, i, i+1)
	}
}

// reach is where the run of bytes ends that are there from off on, at limit at most.
// It is off where that byte is not there.
func (t *plainPieces) reach(off, limit int64) int64 {
	for off < limit {
		pieces, start := t.page(off)
		at := uint32(off - start)
		i := find(pieces, at)
		if i == len(pieces) || pieces[i].at > at {
			return off
		}
		end := pieces[i].end()
		for i++; i < len(pieces) && pieces[i].at == end; i++ {
			end = pieces[i].end()
		}
		off = start + int64(end)
	}
	return min(off, limit)
}

// maxView is how many pieces a reader takes at once.
const maxView = 16

// view fills a view with the pieces from off on that follow each other, maxView or up
// to limit. It is empty where off is not there.
func (t *plainPieces) view(v *plainView, off, limit int64) {
	v.n, v.checked = 0, true
	for at := off; at < limit && v.n < maxView; {
		pieces, start := t.page(at)
		i := find(pieces, uint32(at-start))
		if i == len(pieces) || int64(pieces[i].at) > at-start {
			return
		}
		p := pieces[i]
		v.at[v.n], v.ends[v.n], v.sums[v.n] = start+int64(p.at), start+int64(p.end()), p.crc
		v.checked = v.checked && p.checked()
		at = v.ends[v.n]
		v.n++
	}
}

// check takes note that the piece at off matches its sum.
func (t *plainPieces) check(off int64, crc uint32) {
	pieces, start := t.page(off)
	at := uint32(off - start)
	if i := find(pieces, at); i < len(pieces) && pieces[i].at == at && pieces[i].crc == crc {
		pieces[i].n |= pieceChecked
	}
}

// uncheck forgets which pieces match their sums.
func (t *plainPieces) uncheck() {
	for _, pieces := range t.pages {
		for i := range pieces {
			pieces[i].n &^= pieceChecked
		}
	}
}
