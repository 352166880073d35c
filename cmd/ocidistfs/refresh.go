package main

import (
	"context"

	"github.com/alecthomas/kingpin/v2"
)

const refreshExamples = `ocidistfs refresh /mnt/reg/docker.io/library/alpine/tags/latest
# All tags of a repository, and which there are; of a host; everything:
ocidistfs refresh /mnt/reg/docker.io/library/alpine/tags
ocidistfs refresh /mnt/reg/docker.io
ocidistfs refresh /mnt/reg
`

func addRefresh(app *kingpin.Application) (string, command) {
	var path string
	cmd := app.Command("refresh", "Make a mount ask again what tags mean, and which there are. Nothing is downloaded again that is known by its digest.").HelpLong(refreshExamples)
	cmd.Arg("PATH", "A directory in a mount: of a tag, the tags of a repository, a repository, a host, or all.").Required().StringVar(&path)
	return cmd.FullCommand(), func(ctx context.Context, _ streams) error {
		look := probe{Do: refreshPath, Path: path}
		_, err := look.run(ctx)
		return err
	}
}
