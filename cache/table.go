package cache

// pageChunks is how many chunks a page of a table has: 16 MiB of the blob.
const pageChunks = 1024

// A table says of each chunk of a blob whether it is there, and its sum. Its
// pages are made when the first of their chunks comes: a blob costs the memory
// that its bytes are worth, not that of the size its manifest claims.
type table struct {
	n       int // chunks of the blob
	missing int // of those, the ones that may not be read
	lost    int // of those, the ones that readers may have had before
	held    int // a chunk that is on disk and waits for the digest, or -1
	pages   []*page
}

type page struct {
	present [pageChunks / 64]uint64 // chunks that may be read
	checked [pageChunks / 64]uint64 // of those, the ones known to match their sum
	lost    [pageChunks / 64]uint64 // chunks that were there and are missing
	sums    [pageChunks]uint32
}

func newTable(n int) *table {
	return &table{n: n, missing: n, held: -1, pages: make([]*page, (n+pageChunks-1)/pageChunks)}
}

// page returns the page of chunk i, which it makes, and the chunk's place in it.
func (t *table) page(i int) (*page, int) {
	p := &t.pages[i/pageChunks]
	if *p == nil {
		*p = new(page)
	}
	return *p, i % pageChunks
}

func (t *table) has(i int) bool {
	p := t.pages[i/pageChunks]
	return p != nil && p.present[i%pageChunks/64]&(1<<(i%64)) != 0
}

func (t *table) sum(i int) uint32 {
	p, at := t.page(i)
	return p.sums[at]
}

// add makes a missing chunk readable.
func (t *table) add(i int, crc uint32) {
	p, at := t.page(i)
	p.sums[at] = crc
	p.present[at/64] |= 1 << (at % 64)
	t.missing--
	if p.lost[at/64]&(1<<(at%64)) != 0 {
		p.lost[at/64] &^= 1 << (at % 64)
		t.lost--
	}
	if t.held == i {
		t.held = -1
	}
}

// hold takes note of a chunk that is on disk and may not be read yet.
func (t *table) hold(i int, crc uint32) {
	p, at := t.page(i)
	p.sums[at] = crc
	t.held = i
}

// drop makes a chunk a miss.
func (t *table) drop(i int) {
	if t.held == i {
		t.held = -1
	}
	if !t.has(i) {
		return
	}
	p, at := t.page(i)
	p.present[at/64] &^= 1 << (at % 64)
	p.checked[at/64] &^= 1 << (at % 64)
	t.missing++
	t.lose(i)
}

// lose takes note that readers may have had chunk i, which is missing.
func (t *table) lose(i int) {
	p, at := t.page(i)
	if p.lost[at/64]&(1<<(at%64)) == 0 {
		p.lost[at/64] |= 1 << (at % 64)
		t.lost++
	}
}

// wasRead says whether readers may have had chunk i, now or before.
func (t *table) wasRead(i int) bool {
	p := t.pages[i/pageChunks]
	return p != nil && (p.present[i%pageChunks/64]|p.lost[i%pageChunks/64])&(1<<(i%64)) != 0
}

// allRead says whether, in a blob that is not whole, nothing is missing but what
// readers may have had before: the rest, with what they had, is all of it.
func (t *table) allRead() bool { return t.lost > 0 && t.lost == t.missing }

// inherit takes over from the table of an earlier form what readers may have had
// of it.
func (t *table) inherit(before *table) {
	for i := range min(t.n, before.n) {
		if before.wasRead(i) && !t.has(i) {
			t.lose(i)
		}
	}
}

// fill makes all that is missing readable.
func (t *table) fill() {
	for i := range t.n {
		if !t.has(i) {
			t.add(i, t.sum(i))
		}
	}
}

// firstMissing returns the first chunk of a span that may not be read.
func (t *table) firstMissing(s span) (int, bool) {
	for i := s.from; i < s.to; i++ {
		if !t.has(i) {
			return i, true
		}
	}
	return 0, false
}

// check takes note that the chunks of a span match their sums.
func (t *table) check(s span) {
	for i := s.from; i < s.to; i++ {
		p, at := t.page(i)
		p.checked[at/64] |= 1 << (at % 64)
	}
}

// checked says whether all chunks of a span are known to match their sums.
func (t *table) checked(s span) bool {
	for i := s.from; i < s.to; i++ {
		p := t.pages[i/pageChunks]
		if p == nil || p.checked[i%pageChunks/64]&(1<<(i%64)) == 0 {
			return false
		}
	}
	return true
}

// uncheck forgets which chunks match their sums.
func (t *table) uncheck() {
	for _, p := range t.pages {
		if p != nil {
			clear(p.checked[:])
		}
	}
}
