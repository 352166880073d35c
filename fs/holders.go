package fs

import (
	"fmt"
	"strings"
)

// A Holder is a process that keeps a mount in use.
type Holder struct {
	PID  int
	Name string // of its program, as the kernel has it: 15 bytes at most
	By   string // what it holds, in words
}

func (h Holder) String() string { return fmt.Sprintf("%s (process %d, by %s)", h.Name, h.PID, h.By) }

// shownHolders is how many are named; whoever looks for more knows lsof.
const shownHolders = 10

// Holders are some processes in words, for a sentence.
type Holders []Holder

func (h Holders) String() string {
	var names []string
	for i, holder := range h {
		if i == shownHolders {
			names = append(names, fmt.Sprintf("and %d more", len(h)-i))
			break
		}
		names = append(names, holder.String())
	}
	return strings.Join(names, ", ")
}
