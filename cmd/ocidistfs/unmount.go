package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs"
)

func addUnmount(app *kingpin.Application) (string, command) {
	var mountpoint string
	cmd := app.Command("unmount", "End a mount. One that is in use disappears at once.").HelpLong("ocidistfs unmount /mnt/reg").Alias("umount")
	cmd.Arg("MOUNTPOINT", "Where it is mounted.").Required().StringVar(&mountpoint)
	return cmd.FullCommand(), func(_ context.Context, s streams) error {
		held, err := fs.Unmount(mountpoint)
		if len(held) > 0 { // it is done all the same
			fmt.Fprintf(s.err, "ocidistfs: %s is unmounted; what served it ends when they have let go of it: %s\n", mountpoint, held)
		}
		return err
	}
}
