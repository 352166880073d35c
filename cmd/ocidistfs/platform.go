package main

import (
	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

func platformFlag(cmd *kingpin.CmdClause, platform *string) {
	cmd.Flag("platform", "Choose the image of an index for os/arch[/variant]; by default for this machine.").PlaceHolder("OS/ARCH").StringVar(platform)
}

// parsePlatform takes the flag; "" is this machine's.
func parsePlatform(s string) (tree.Platform, error) {
	if s == "" {
		return tree.Platform{}, nil
	}
	p, err := tree.ParsePlatform(s)
	if err != nil {
		return p, usageError{err}
	}
	return p, nil
}
