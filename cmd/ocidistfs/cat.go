package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

const catExamples = `ocidistfs cat docker.io/library/alpine/tags/3.10/manifest.json
# What is in an image, which is fetched while it is read:
ocidistfs cat docker.io/library/alpine/tags/3.10/image.tar | tar t
`

func addCat(app *kingpin.Application) (string, command) {
	var v view
	var paths []string
	cmd := app.Command("cat", "Write the files that a mount shows to standard output, without a mount.").HelpLong(catExamples)
	v.flags(cmd)
	v.ahead.flags(cmd)
	cmd.Arg("PATH", pathForm).Required().StringsVar(&paths)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		o, err := v.open(ctx, s, hostsIn(paths)...)
		if err != nil {
			return err
		}
		defer o.close()
		told := tally{w: o.err}
		for _, path := range paths {
			if err := told.tell(ctx, o.advise(ctx, o.cat(ctx, sink{o.out}, path))); err != nil {
				return err
			}
		}
		return told.end()
	}
}

// cat writes all of a file. Its last bytes are written when they are known to be what
// the digest says.
func (o *openView) cat(ctx context.Context, w io.Writer, path string) error {
	place, err := o.Find(ctx, path)
	if err != nil {
		return err
	}
	open, err := openWhole(ctx, place)
	if err != nil {
		return err
	}
	return errors.Join(copyAll(ctx, w, open), open.Close())
}

// openWhole opens a file for one who reads all of it in order: as much is fetched ahead
// from the beginning on as may be. The caller closes it.
func openWhole(ctx context.Context, place tree.Place) (tree.OpenFile, error) {
	file, ok := place.Node.(tree.File)
	if !ok {
		return nil, notAFile(place)
	}
	open, err := file.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", place.Path, err)
	}
	if ahead, ok := open.(interface{ Whole() }); ok {
		ahead.Whole()
	}
	return open, nil
}

var errIsDirectory = errors.New("it is a directory")

// notAFile is the error of a directory where a file is asked for. One that somebody takes
// for an image may be none: any name that a repository can have is a directory.
func notAFile(place tree.Place) error {
	err := fmt.Errorf("%s: %w", shownPath(place.Path), errIsDirectory)
	if host, rest, _ := strings.Cut(place.Path, "/"); rest != "" && !slices.ContainsFunc(strings.Split(rest, "/"), holdsImages) {
		return advised{err, fmt.Sprintf("images are in tags/<tag> and digests/sha256:<hex> of their repository, as in %s/library/alpine/tags/3.10", host)}
	}
	return err
}

// holdsImages says whether a directory of that name has images.
func holdsImages(name string) bool { return name == "tags" || name == "digests" }
