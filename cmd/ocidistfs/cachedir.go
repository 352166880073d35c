package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/alecthomas/kingpin/v2"
)

func cacheFlag(cmd *kingpin.CmdClause, dir *string) {
	cmd.Flag("cache-dir", "Where to keep what was downloaded; by default ocidistfs in the user's cache directory.").PlaceHolder("DIR").StringVar(dir)
}

// cacheDir takes the flag; "" is the user's.
func cacheDir(flag string) (string, error) {
	if flag != "" {
		return filepath.Abs(flag)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no cache directory: %w; name one with --cache-dir", err)
	}
	return filepath.Join(dir, "ocidistfs"), nil
}
