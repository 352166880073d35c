package fs

import (
	"sync"
	"sync/atomic"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

const (
	// maxGiven is the largest file that the kernel is given before it asks. With 128 KiB tar takes a
	// fifth longer on a new mount, and with 1 MiB as long.
	maxGiven = 512 << 10
	// maxGiving is how many are given at once; others are read.
	maxGiving = 8
)

var (
	givenBuffers = sync.Pool{New: func() any { return new([maxGiven]byte) }}
	giving       = make(chan struct{}, maxGiving) // has one for each file that is being given
)

// give has the kernel keep the pages of a small file in an image, which is being opened, where
// its bytes are on disk. It saves the READs, which take longer than the rest of reading a small
// file: two processes have to wake up for each.
//
// A file is given once, and where there was nothing to give, or no place, not at all: the one who opened it
// first reads it by READs then, and the kernel would have this wait for them. When it has
// dropped the pages it asks.
func (f *file) give(open tree.OpenFile, size int64) {
	inner, ok := f.tree.(tree.Inner)
	kept, has := open.(tree.KeptFile)
	if !ok || !has || size == 0 || size > maxGiven {
		return
	}
	id, known := f.mount.inners.id(inner)
	if !known || !f.mount.given.add(id) {
		return
	}
	select {
	case giving <- struct{}{}:
		defer func() { <-giving }()
	default:
		return
	}
	buffer := givenBuffers.Get().(*[maxGiven]byte)
	defer givenBuffers.Put(buffer)
	if p := buffer[:size]; kept.ReadKept(p) {
		f.mount.inners.store(id, p)
	}
}

// given are the files that the kernel was given: a bit each, which several may share. Who shares
// one is not given, and reads. It is safe for concurrent use.
type given struct {
	bits [givenBits / 64]atomic.Uint64
}

// givenBits is 2 to the power of givenPower. They are half a MiB of memory, of which none is
// taken before files are given; of 200,000 files 2 % share a bit.
const (
	givenPower = 22
	givenBits  = 1 << givenPower
)

// of is where the bit of a file is, by its node ID.
func (g *given) of(id uint64) (word *atomic.Uint64, bit uint64) {
	const spread = 0x9e3779b97f4a7c15 // neighbours lie anywhere then
	at := id * spread >> (64 - givenPower)
	return &g.bits[at/64], 1 << (at % 64)
}

// add says whether the file was not there, and now is.
func (g *given) add(id uint64) bool {
	word, bit := g.of(id)
	return word.Or(bit)&bit == 0
}

// remove takes note that the kernel has forgotten the file, with all of its pages.
func (g *given) remove(id uint64) {
	word, bit := g.of(id)
	word.And(^bit)
}
