package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A pull is one run of the command of that name.
type pull struct {
	connection
	ref                 registry.Reference
	platform            tree.Platform
	path, cacheDir      string
	noManifests, noSums bool
	noCache             bool
}

// An image is what is pulled, through the cache or without it.
type image struct {
	referenced, resolved manifest
	archive              *imagetar.Archive
	// write copies the archive from its beginning to its end.
	write func(ctx context.Context, w io.Writer) error
}

type manifest struct {
	digest registry.Digest
	bytes  []byte
}

func addPull(app *kingpin.Application) (string, command) {
	var p pull
	var reference, platform string
	cmd := app.Command("pull", "Pull an image as a tarball that docker load and all others take.\n\nExample: ocidistfs pull docker.io/library/alpine:3.10 --path /tmp/foo.tar")
	p.flags(cmd)
	cmd.Flag("path", "Where to write the tarball; - is standard output.").Required().PlaceHolder("FILE").StringVar(&p.path)
	cmd.Flag("no-manifests", "Do not show the manifests.").BoolVar(&p.noManifests)
	cmd.Flag("no-hashes", "Do not show their digests.").BoolVar(&p.noSums)
	cmd.Flag("no-cache", "Keep nothing on disk but the tarball.").BoolVar(&p.noCache)
	cacheFlag(cmd, &p.cacheDir)
	platformFlag(cmd, &platform)
	cmd.Arg("REFERENCE", referenceForm).Required().StringVar(&reference)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		var err error
		if p.ref, err = parseImage(reference); err != nil {
			return err
		}
		if p.platform, err = parsePlatform(platform); err != nil {
			return err
		}
		return p.run(ctx, s)
	}
}

func (p *pull) run(ctx context.Context, s streams) error {
	repo, client, end, err := p.repository(p.ref, s)
	if err != nil {
		return err
	}
	defer end()
	if info, err := os.Stat(p.path); p.path != "-" && err == nil && info.IsDir() {
		return usagef("--path %s: it is a directory; name a file in it", p.path)
	}
	open := p.cached
	if p.noCache {
		open = func(ctx context.Context, c *registry.Client, _ streams) (image, func(), error) {
			return p.uncached(ctx, c, repo)
		}
	}
	img, release, err := open(ctx, client, s)
	if err != nil {
		return err
	}
	defer release()
	said := s.out
	if p.path == "-" {
		said = s.err
	}
	if err := p.describe(said, img); err != nil {
		return err
	}
	began := time.Now()
	meter := newProgress(s.err, img.archive.Size(), p.ref.String())
	if p.path == "-" {
		err = img.write(ctx, io.MultiWriter(s.out, meter))
	} else {
		err = writeWhole(p.path, func(w io.Writer) error { return img.write(ctx, io.MultiWriter(w, meter)) })
	}
	meter.end()
	if err != nil {
		return err
	}
	if !meter.shown() {
		fmt.Fprintf(s.err, "pulled %s: %d bytes in %.1f s\n", p.ref, img.archive.Size(), time.Since(began).Seconds())
	}
	return nil
}

// describe shows the manifests and digests of what is pulled.
func (p *pull) describe(w io.Writer, img image) error {
	show := func(what string, m manifest) error {
		if !p.noManifests {
			if err := writeIndented(w, m.bytes); err != nil {
				return err
			}
		}
		if p.noSums {
			return nil
		}
		_, err := fmt.Fprintln(w, what, "manifest", m.digest.Hex)
		return err
	}
	if err := show("referenced", img.referenced); err != nil {
		return err
	}
	if img.resolved.digest == img.referenced.digest {
		return nil
	}
	return show("resolved", img.resolved)
}

// cached opens the image through the cache: what is there is not fetched again.
func (p *pull) cached(ctx context.Context, client *registry.Client, s streams) (image, func(), error) {
	dir, err := cacheDir(p.cacheDir)
	if err != nil {
		return image{}, nil, err
	}
	store, err := cache.Open(dir, cache.Options{Logger: warnings(s.err)})
	if err != nil {
		return image{}, nil, fmt.Errorf("%w; --no-cache does without", err)
	}
	t := tree.New(tree.Options{Client: client, Store: store, Platform: p.platform})
	release := func() {
		t.Close()
		_ = store.Close() // nothing is written by then
	}
	img, err := func() (image, error) {
		i, err := t.Image(ctx, p.ref)
		if err != nil {
			return image{}, err
		}
		resolved, err := i.Resolved(ctx)
		if err != nil {
			return image{}, err
		}
		archive, err := i.Archive(ctx)
		if err != nil {
			return image{}, err
		}
		return image{
			referenced: manifest{i.Manifest().Digest, i.Manifest().Bytes},
			resolved:   manifest{resolved.Digest, resolved.Bytes},
			archive:    archive,
			write: func(ctx context.Context, w io.Writer) (err error) {
				tar, err := i.OpenTar(ctx)
				if err != nil {
					return err
				}
				defer func() { err = errors.Join(err, tar.Close()) }()
				return copyAll(ctx, w, tar)
			},
		}, nil
	}()
	if err != nil {
		release()
		return image{}, nil, err
	}
	return img, release, nil
}

// copyAll copies an open file in order.
func copyAll(ctx context.Context, w io.Writer, from tree.OpenFile) error {
	b := make([]byte, 1<<20)
	for off := int64(0); off < from.Size(); {
		n, err := from.ReadAt(ctx, b[:min(int64(len(b)), from.Size()-off)], off)
		if n == 0 && err != nil {
			return err
		}
		if _, err := w.Write(b[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// uncached streams the image from the registry.
func (p *pull) uncached(ctx context.Context, client *registry.Client, repo *registry.Repository) (image, func(), error) {
	referenced, err := repo.Manifest(ctx, identifier(p.ref))
	if err != nil {
		return image{}, nil, err
	}
	resolved, err := forPlatform(ctx, repo, referenced, p.platform)
	if err != nil {
		return image{}, nil, err
	}
	archive, err := tree.ArchiveOf(p.ref, resolved.Descriptor, resolved.Bytes)
	if err != nil {
		return image{}, nil, err
	}
	return image{
		referenced: manifest{referenced.Descriptor.Digest, referenced.Bytes},
		resolved:   manifest{resolved.Descriptor.Digest, resolved.Bytes},
		archive:    archive,
		write: func(ctx context.Context, w io.Writer) error {
			return archive.Write(ctx, w, func(ctx context.Context, w io.Writer, d v1.Descriptor) error {
				return cache.Stream(ctx, w, d.Digest, d.Size, tree.Source(client, repo, d))
			})
		},
	}, func() {}, nil
}

// writeWhole writes a file that appears when it is whole: under another name in
// the same directory, synced, then renamed. What was there before stays until
// then.
func writeWhole(path string, write func(io.Writer) error) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		// A device or a pipe cannot be replaced, and is not meant to be.
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*.tmp")
	if err != nil {
		return fmt.Errorf("--path %s: %w", path, err)
	}
	err = write(f)
	if err == nil {
		err = errors.Join(f.Chmod(0o644), f.Sync())
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

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
