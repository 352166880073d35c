package fs

import (
	"sync"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// maxGiven is the largest file that the kernel is given before it asks: what it would ask for
// with the first READ, whatever of the file a program wants. A buffer of givenBuffers is as
// long.
const maxGiven = 128 << 10

var givenBuffers = sync.Pool{New: func() any { return new([maxGiven]byte) }}

// give has the kernel keep the pages of a small file that is being opened, where its bytes are
// on disk. It saves the READ, which takes longer than the rest of reading a small file: two
// processes have to wake up for it.
//
// A file is given once, and where there was nothing to give never: the one who opened it first
// reads it by READs then, and the kernel would have this wait for them. When it has dropped
// the pages it asks.
func (f *file) give(open tree.OpenFile, size int64) {
	kept, ok := open.(tree.KeptFile)
	if !ok || size == 0 || size > maxGiven || f.given.Swap(true) {
		return
	}
	buffer := givenBuffers.Get().(*[maxGiven]byte)
	defer givenBuffers.Put(buffer)
	if p := buffer[:size]; kept.ReadKept(p) {
		_ = f.WriteCache(0, p) // whoever is not given asks
	}
}
