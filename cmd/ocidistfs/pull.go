package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A pull is one run of the command of that name.
type pull struct {
	connection
	ref                 registry.Reference
	platform            tree.Platform
	ahead               ahead
	path, cacheDir      string
	limits              cacheLimits
	noManifests, noSums bool
	noCache             bool
	offline             bool
}

const pullExamples = `ocidistfs pull docker.io/library/alpine:3.10 --path /tmp/foo.tar
# Straight into docker, and nothing else said:
ocidistfs pull docker.io/library/alpine:3.10 --path - --no-manifests --no-hashes 2>/dev/null | docker load
# Another platform, and nothing kept in the cache:
ocidistfs pull docker.io/library/alpine:3.10 --platform linux/arm64 --no-cache --path /tmp/arm.tar
# With a password, through a proxy:
ocidistfs pull reg.example.com/team/app:1.2 --username alice --password-stdin --proxy http://proxy.example.com:3128 --path app.tar <password
`

func addPull(app *kingpin.Application) (string, command) {
	var p pull
	var reference, platform string
	cmd := app.Command("pull", "Pull an image as a tarball that docker load and all others take.").HelpLong(pullExamples)
	p.flags(cmd)
	cmd.Flag("path", "Where to write the tarball; - is standard output.").Required().PlaceHolder("FILE").StringVar(&p.path)
	cmd.Flag("no-manifests", "Do not show the manifests.").BoolVar(&p.noManifests)
	cmd.Flag("no-hashes", "Do not show their digests.").BoolVar(&p.noSums)
	cmd.Flag("no-cache", "Keep nothing on disk but the tarball.").BoolVar(&p.noCache)
	cmd.Flag("offline", "Make no request: take all of it from the cache, whatever its age.").BoolVar(&p.offline)
	cacheFlag(cmd, &p.cacheDir)
	p.limits.flags(cmd)
	p.ahead.flags(cmd)
	platformFlag(cmd, &platform)
	cmd.Arg("REFERENCE", referenceForm).Required().StringVar(&reference)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		var err error
		if p.ref, err = parseImage(reference); err != nil {
			return err
		}
		if p.path == "" {
			return usagef("--path is empty; - is standard output")
		}
		if p.path == "-" && isTerminal(s.out) {
			return usagef("a tarball is nothing for a terminal: --path FILE names a file, and | leads to a program")
		}
		if p.offline && p.noCache {
			return usagef("--offline and --no-cache exclude each other: there would be nothing to take it from")
		}
		if err := p.ahead.check(); err != nil {
			return err
		}
		if p.platform, err = parsePlatform(platform); err != nil {
			return err
		}
		return p.run(ctx, s)
	}
}

func (p *pull) run(ctx context.Context, s streams) error {
	repo, client, end, err := p.repository(ctx, p.ref, s)
	if err != nil {
		return err
	}
	defer end()
	if info, err := os.Stat(p.path); p.path != "-" && err == nil && info.IsDir() {
		return usagef("--path %s: it is a directory; name a file in it", p.path)
	}
	var img image
	if p.noCache {
		img, err = streamedImage(ctx, client, repo, p.ref, p.platform)
	} else {
		var dir string
		if dir, err = cacheDir(p.cacheDir); err != nil {
			return err
		}
		img, err = p.cachedImage(ctx, client, dir, warnings(s.err))
	}
	if err != nil {
		return p.advise(ctx, repo, p.ref, err)
	}
	defer img.release()
	said := s.out
	if p.path == "-" {
		said = s.err
	}
	// Whoever has read enough of this, as head does, still wants the tarball.
	if err := p.describe(said, img); err != nil && !closedEarly(err) {
		return err
	}
	began := time.Now()
	meter := newProgress(s.err, img.size, p.ref.String())
	if p.path == "-" {
		err = img.write(ctx, io.MultiWriter(s.out, meter))
	} else {
		err = writeWhole(p.path, func(f *os.File) error { return img.save(ctx, f, meter) })
	}
	meter.end(err == nil)
	if err != nil {
		return err
	}
	if !meter.shown() {
		fmt.Fprintf(s.err, "pulled %s: %d bytes in %.1f s\n", p.ref, img.size, time.Since(began).Seconds())
	}
	return nil
}

// describe shows the manifests and digests of what is pulled.
func (p *pull) describe(w io.Writer, img image) error {
	show := func(what string, m cache.Manifest) error {
		if !p.noManifests {
			if err := writeIndented(w, m.Bytes); err != nil {
				return err
			}
		}
		if p.noSums {
			return nil
		}
		_, err := fmt.Fprintln(w, what, "manifest", m.Digest.Hex)
		return err
	}
	if err := show("referenced", img.referenced); err != nil {
		return err
	}
	if img.resolved.Digest == img.referenced.Digest {
		return nil
	}
	return show("resolved", img.resolved)
}
