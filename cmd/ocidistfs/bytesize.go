package main

import (
	"fmt"

	"github.com/alecthomas/units"
)

// byteSize is the value of a flag that is a number of bytes, as in 64MiB.
type byteSize int64

func (s *byteSize) Set(text string) error {
	n, err := units.ParseBase2Bytes(text)
	if err != nil || n < 0 {
		return fmt.Errorf("%q is not a size, as in 64MiB", text)
	}
	*s = byteSize(n)
	return nil
}

func (s *byteSize) String() string { return units.Base2Bytes(*s).String() }
