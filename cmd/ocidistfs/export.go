package main

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// An exporting is one run of the command export.
type exporting struct {
	view
	ref  registry.Reference
	path string
}

const exportExamples = `ocidistfs export docker.io/library/alpine:3.10 -o alpine.tar
# One file of it:
ocidistfs export docker.io/library/alpine:3.10 | tar xO etc/os-release
# An image of one layer, of another platform:
ocidistfs export docker.io/library/alpine:3.10 --platform linux/arm64 | docker import --platform linux/arm64 - alpine-in-one
`

func addExport(app *kingpin.Application) (string, command) {
	var e exporting
	var reference string
	cmd := app.Command("export", "Write the merged file system of an image as a tar archive.").HelpLong(exportExamples)
	cmd.Flag("output", "Where to write the archive; - is standard output.").Short('o').Default("-").PlaceHolder("FILE").StringVar(&e.path)
	e.flags(cmd)
	e.ahead.flags(cmd)
	cmd.Arg("REFERENCE", referenceForm).Required().StringVar(&reference)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		var err error
		if e.ref, err = parseImage(reference); err != nil {
			return err
		}
		if e.path == "" {
			return usagef("--output is empty; - is standard output")
		}
		return e.run(ctx, s)
	}
}

func (e *exporting) run(ctx context.Context, s streams) error {
	if e.path == "-" || e.path == dash {
		if isTerminal(s.out) {
			return usagef("an archive is nothing for a terminal: -o FILE names a file, and | leads to a program")
		}
		return e.to(ctx, s, s.out)
	}
	if info, err := os.Stat(e.path); err == nil && info.IsDir() {
		return usagef("--output %s: it is a directory; name a file in it", e.path)
	}
	return writeWhole(e.path, func(f *os.File) error { return e.to(ctx, s, &writtenBack{File: f}) })
}

// to writes the archive.
func (e *exporting) to(ctx context.Context, s streams, w io.Writer) (err error) {
	o, err := e.open(ctx, s, e.ref.Host)
	if err != nil {
		return err
	}
	defer o.close()
	archive, err := e.archive(ctx, o)
	if err != nil {
		if repo, failed := o.client.Repository(e.ref.Name()); failed == nil {
			err = o.connection.advise(ctx, repo, e.ref, err)
		}
		return err
	}
	defer func() { err = errors.Join(err, archive.Close()) }()
	if !isTerminal(s.err) { // nobody wants to know how much there is to come
		return archive.Write(ctx, w)
	}
	size, err := archive.Size(ctx)
	if err != nil {
		return err
	}
	meter := newProgress(o.err, size, e.ref.String())
	err = archive.Write(ctx, io.MultiWriter(w, meter))
	meter.end(err == nil)
	return err
}

// archive opens the archive, for which layers are read that nothing is known of yet.
func (e *exporting) archive(ctx context.Context, o *openView) (*tree.RootfsArchive, error) {
	image, err := o.Image(ctx, e.ref)
	if err != nil {
		return nil, err
	}
	var begun sync.Once
	meter := &progress{}
	archive, err := image.OpenRootfsArchive(ctx, func(more, all int64) {
		begun.Do(func() { meter = newPassing(o.err, all, "layers of "+e.ref.String()) })
		meter.add(more)
	})
	meter.end(err == nil)
	return archive, err
}
