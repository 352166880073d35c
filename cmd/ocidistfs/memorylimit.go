package main

import "runtime/debug"

const (
	// collectorPart is of which part of --memory Go's collector is not told: what the heap
	// passes its limit by while it is being collected, and pages that the kernel has not
	// taken back yet.
	collectorPart = 8
	// programSize is how much that is at least: the pages of the program itself, which
	// the collector does not count and the kernel does.
	programSize = 16 << 20
)

// limitMemory has Go's collector keep the process below so many bytes: it works
// harder the nearer the limit is, and fails nothing. A process serves one mount.
func limitMemory(bytes int64) { debug.SetMemoryLimit(collectorLimit(bytes)) }

// collectorLimit is what the collector is told for a process that is to have no more
// than so many bytes resident.
func collectorLimit(bytes int64) int64 {
	return bytes - max(bytes/collectorPart, programSize)
}
