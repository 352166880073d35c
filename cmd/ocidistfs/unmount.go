package main

import (
	"context"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs"
)

func addUnmount(app *kingpin.Application) (string, command) {
	var mountpoint string
	cmd := app.Command("unmount", "End a mount. One that is in use disappears at once.").HelpLong("ocidistfs unmount /mnt/reg").Alias("umount")
	cmd.Arg("MOUNTPOINT", "Where it is mounted.").Required().StringVar(&mountpoint)
	return cmd.FullCommand(), func(context.Context, streams) error { return fs.Unmount(mountpoint) }
}
