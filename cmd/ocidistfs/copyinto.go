package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// syncedSize is from which size on a file is on the disk when it appears: it is on its
// way there already. A directory can have ten thousand that are smaller, and to wait for
// the disk for each would take longer than to fetch them.
const syncedSize = writeBackStep

// node copies a row so that it is called name in root.
func (c *copying) node(ctx context.Context, root *os.Root, name string, source row) error {
	if _, ok := source.node.(tree.Link); ok && c.follow {
		return c.followed(ctx, root, name, source)
	}
	source.name = name
	exists, err := c.room(root, source)
	if err != nil {
		return err
	}
	switch node := source.node.(type) {
	case tree.Dir:
		return c.directory(ctx, root, name, readBranch(ctx, source, everything), exists)
	case tree.Link:
		return c.appear(root, name, func(temporary string) error { return root.Symlink(source.target, temporary) })
	case tree.File:
		mode := source.attr.Mode.Perm()
		keep := c.preserve
		if before, err := root.Lstat(name); err == nil && before.Mode().IsRegular() && !keep {
			mode, keep = before.Mode().Perm(), true
		}
		return c.appear(root, name, func(temporary string) error {
			return c.file(ctx, root, temporary, tree.Place{Node: node, Path: source.path}, source.attr, mode, keep)
		})
	}
	return fmt.Errorf("%s: a %s is not copied; ocidistfs export has it in an archive", source.path, typeName(source.mode))
}

// room says whether there is something in root that has the row's name, and why that is
// not replaced or, of a directory, added to.
func (c *copying) room(root *os.Root, source row) (exists bool, err error) {
	if !safeName(source.name) {
		return false, fmt.Errorf("%s: %q is no name for a file", source.path, source.name)
	}
	before, err := root.Lstat(source.name)
	at := within(root, source.name)
	switch {
	case errors.Is(err, iofs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("write %s: %w", at, withoutPath(err))
	case source.mode.IsDir() && !before.IsDir():
		return true, fmt.Errorf("write %s: what is there is no directory, and not replaced by one", at)
	case !source.mode.IsDir() && before.IsDir():
		return true, fmt.Errorf("write %s: a directory is there, and not replaced by a %s", at, typeName(source.mode))
	}
	return true, nil
}

// safeName says whether a name is one in a directory, and leads nowhere else. Images have
// names with backslashes, which mean nothing but on Windows.
func safeName(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") && !strings.ContainsRune(name, filepath.Separator)
}

// followed copies what a link leads to in place of it.
func (c *copying) followed(ctx context.Context, root *os.Root, name string, link row) error {
	place, err := c.Find(ctx, link.path)
	if err != nil {
		return err
	}
	if isBelow(link.path, place.Path) {
		return fmt.Errorf("%s: it leads to a directory that it is in itself", link.path)
	}
	source := rowOf(place, name).look(ctx)
	if source.err != nil {
		return source.err
	}
	return c.node(ctx, root, name, source)
}

// isBelow says whether a path leads through a directory.
func isBelow(path, dir string) bool { return dir == "" || strings.HasPrefix(path, dir+"/") }

// appear has something made under another name, which is there whole or not at all.
func (c *copying) appear(root *os.Root, name string, create func(temporary string) error) error {
	temporary := ".ocidistfs-" + rand.Text() + ".tmp"
	err := create(temporary)
	if err == nil {
		err = root.Rename(temporary, name)
	}
	if err != nil {
		var path *iofs.PathError
		var link *os.LinkError
		if errors.As(err, &link) || errors.As(err, &path) && strings.Contains(path.Path, temporary) {
			err = withoutPath(err) // which only we know
		}
		if left := root.Remove(temporary); left != nil && !errors.Is(left, iofs.ErrNotExist) {
			err = errors.Join(err, left)
		}
		return fmt.Errorf("write %s: %w", within(root, name), err)
	}
	return nil
}

// file writes a new file. keep says that it has exactly that mode: else the umask
// counts, as for any new file.
func (c *copying) file(ctx context.Context, root *os.Root, name string, source tree.Place, attr tree.Attr, mode iofs.FileMode, keep bool) (err error) {
	open, err := openWhole(ctx, source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, open.Close()) }()
	created := mode
	if keep {
		created = 0o600 // attributes can be given to what may be written to
	}
	f, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, created)
	if err != nil {
		return err
	}
	err = saveFile(ctx, f, c.meter, open, c.store)
	if err == nil && c.preserve {
		err = giveAttributes(ctx, f, source.Node)
	}
	if err == nil && keep {
		err = f.Chmod(mode)
	}
	if err == nil && open.Size() >= syncedSize {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return root.Chtimes(name, time.Now(), attr.ModTime)
}

// giveAttributes gives a copy the extended attributes of what it is a copy of.
func giveAttributes(ctx context.Context, f *os.File, source tree.Node) error {
	all, err := attributesOf(ctx, source)
	if err != nil {
		return err
	}
	for _, a := range all {
		// What a file system does not keep, or only root may give, cp -a does without too.
		if err := setAttribute(f, a.Name, a.Value); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, iofs.ErrPermission) {
			return fmt.Errorf("attribute %s: %w", a.Name, err)
		}
	}
	return nil
}

// saveFile writes a file to an empty one. Where it can be made of the cache's files, all
// that is done before is to bring into the cache what is missing.
func saveFile(ctx context.Context, dst *os.File, meter io.Writer, open tree.OpenFile, store *cache.Store) error {
	if made, ok := open.(assembled); ok {
		return saveTar(ctx, dst, meter, made, store)
	}
	return copyAll(ctx, teeTo(dst, meter), open)
}

// teeTo writes to a file whose bytes are soon on their way to the disk, and tells a meter.
func teeTo(dst *os.File, meter io.Writer) io.Writer {
	return io.MultiWriter(&writtenBack{File: dst}, meter)
}

// directory copies a directory that was read, and gives it its time when all is in it.
func (c *copying) directory(ctx context.Context, root *os.Root, name string, source branch, exists bool) error {
	mode := source.attr.Mode.Perm()
	failed := func(err error) error {
		if err == nil {
			return nil
		}
		return fmt.Errorf("write %s: %w", within(root, name), withoutPath(err))
	}
	if !exists {
		// Whoever made it can fill it, and remove it again.
		if err := root.Mkdir(name, mode|0o700); err != nil {
			return failed(err)
		}
	}
	sub, err := root.OpenRoot(name)
	if err != nil {
		return failed(err)
	}
	if err := errors.Join(c.contents(ctx, sub, source), sub.Close()); err != nil {
		return err
	}
	if c.preserve {
		// Why it could not be read was told; what it stands for is not asked again.
		if f, failed := root.Open(name); failed == nil && source.err == nil {
			err = errors.Join(giveAttributes(ctx, f, source.node), f.Close())
		}
		err = errors.Join(err, root.Chmod(name, mode))
	}
	if err == nil && (c.preserve || !exists) {
		err = root.Chtimes(name, time.Now(), source.attr.ModTime)
	}
	return failed(err)
}

// contents copies what is in a directory that was read; those below it are read
// meanwhile. What fails is told, and the rest copied.
func (c *copying) contents(ctx context.Context, root *os.Root, b branch) error {
	if err := c.tell(ctx, c.advise(ctx, b.err)); err != nil {
		return err
	}
	var below []row
	for _, one := range b.rows {
		switch {
		case one.err == nil && one.mode.IsDir():
			below = append(below, one)
			continue
		case one.err == nil:
			one.err = c.node(ctx, root, one.name, one)
		}
		if err := c.tell(ctx, c.advise(ctx, one.err)); err != nil {
			return err
		}
	}
	for sub := range branches(ctx, below, everything) {
		if err := c.tell(ctx, c.advise(ctx, c.below(ctx, root, sub))); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// below copies a directory that is in one that is being copied.
func (c *copying) below(ctx context.Context, root *os.Root, b branch) error {
	exists, err := c.room(root, b.row)
	if err != nil {
		return err
	}
	return c.directory(ctx, root, b.name, b, exists)
}

// within is a name in root, for people.
func within(root *os.Root, name string) string {
	return filepath.Join(root.Name(), name)
}

// withoutPath is an error of the file system without the name, which is told otherwise.
func withoutPath(err error) error {
	var path *iofs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
