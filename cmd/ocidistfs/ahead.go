package main

import "github.com/alecthomas/kingpin/v2"

// ahead is how those who read in order are served. Its fields go to the process
// in the background as JSON.
type ahead struct {
	ReadAhead   byteSize // of all readers together
	Connections int      // of one
}

// The bounds of the flags. A host gets no more than 32 connections in any case.
const (
	minReadAhead   = 1 << 20
	maxReadAhead   = 16 << 30
	maxConnections = 32
)

// demoAhead is that of the demo, which takes no flags.
var demoAhead = ahead{ReadAhead: 64 << 20, Connections: 8}

func (a *ahead) flags(cmd *kingpin.CmdClause) {
	cmd.Flag("read-ahead", "How much is fetched ahead of those who read in order, for all of them together.").Default("64MiB").SetValue(&a.ReadAhead)
	cmd.Flag("connections", "Over how many connections it is fetched for one of them.").Default("8").IntVar(&a.Connections)
}

func (a *ahead) check() error {
	if a.ReadAhead < minReadAhead || a.ReadAhead > maxReadAhead {
		return usagef("--read-ahead %s: between 1MiB and 16GiB", &a.ReadAhead)
	}
	if a.Connections < 1 || a.Connections > maxConnections {
		return usagef("--connections %d: between 1 and %d", a.Connections, maxConnections)
	}
	return nil
}
