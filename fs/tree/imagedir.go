package tree

import (
	"context"
	iofs "io/fs"
	"iter"
)

// An imageDir is a directory that follows from an image: the image directory, or
// one below it. Which image that is it asks its origin each time.
type imageDir struct {
	of   origin
	path string
	view view
}

// A view is what an imageDir shows of its image.
type view interface {
	// may says whether there can be something of that name: any other costs no
	// request.
	may(name string) bool
	// names lists what there is, in order. What came before an error is there.
	names(ctx context.Context, d imageDir, i *Image) ([]string, error)
	// node returns what is called name; it was asked of may.
	node(ctx context.Context, d imageDir, i *Image, name string) (Node, error)
}

var _ Versioned = imageDir{}

// newImageDir returns the directory at a path that shows a view of an image.
func newImageDir(of origin, path string, v view) Dir {
	d := imageDir{of, path, v}
	if of.fleeting() {
		return fleetingDir{d}
	}
	return d
}

// below returns the directory called name in d, of the same image.
func (d imageDir) below(name string, v view) Dir { return newImageDir(d.of, d.path+"/"+name, v) }

func (d imageDir) Attr(context.Context) (Attr, error) {
	attr := Attr{Mode: dirMode, Ino: pathIno(d.path)}
	attr.ModTime, attr.Lifetime = d.of.seen()
	return attr, nil
}

func (d imageDir) Version() (string, bool) { return d.of.version() }

func (d imageDir) Lookup(ctx context.Context, name string) (Child, error) {
	if !d.view.may(name) {
		return Child{}, iofs.ErrNotExist
	}
	i, lifetime, err := d.of.image(ctx)
	if err != nil {
		return Child{}, err
	}
	node, err := d.view.node(ctx, d, i, name)
	if err != nil {
		return Child{}, err
	}
	return Child{Node: node, Lifetime: lifetime}, nil
}

func (d imageDir) List(ctx context.Context) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		i, _, err := d.of.image(ctx)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		names, end := d.view.names(ctx, d, i)
		for _, name := range names {
			e, err := d.entry(ctx, i, name)
			if err != nil {
				yield(Entry{}, err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
		if end != nil {
			yield(Entry{}, end)
		}
	}
}

// entry is the line of a listing for the node called name.
func (d imageDir) entry(ctx context.Context, i *Image, name string) (Entry, error) {
	node, err := d.view.node(ctx, d, i, name)
	if err != nil {
		return Entry{}, err
	}
	if file, ok := node.(interface{ number() uint64 }); ok {
		return Entry{Name: name, Ino: file.number()}, nil // how long it is, is not asked
	}
	attr, err := node.Attr(ctx)
	if err != nil {
		return Entry{}, err
	}
	return Entry{Name: name, Mode: attr.Mode.Type(), Ino: attr.Ino}, nil
}

// A fleetingDir is an imageDir of an image that is good for a while only.
type fleetingDir struct{ imageDir }

var (
	_ Versioned = fleetingDir{}
	_ Refresher = fleetingDir{}
)

func (d fleetingDir) Refresh(context.Context) error {
	d.of.forget()
	return nil
}
