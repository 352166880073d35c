package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// registries are those of a script, by the variable that has their host.
type registries map[string]*registrytest.Server

var registryCommands = map[string]scriptCommand{
	"registry": startRegistry,
	"image":    pushImage,
	"files":    pushFiles,
	"index":    pushIndex,
	"manifest": pushManifest,
	"tags":     addTestTags,
	"untag":    removeTag,
	"fault":    breakRegistry,
	"heal":     healRegistry,
}

// startRegistry is: registry [-tls] [-page N] [-login NAME:PASSWORD] [-bearer] VARIABLE
//
// The variable gets the host. A registry with TLS leaves its certificate in
// VARIABLE.pem.
func startRegistry(ts *testscript.TestScript, _ bool, args []string) {
	var opts registrytest.Options
	var login string
	flags := flag.NewFlagSet("registry", flag.ContinueOnError)
	flags.BoolVar(&opts.TLS, "tls", false, "")
	flags.IntVar(&opts.PageSize, "page", 0, "")
	flags.StringVar(&login, "login", "", "")
	flags.BoolVar(&opts.Bearer, "bearer", false, "")
	ts.Check(flags.Parse(args))
	opts.Username, opts.Password, _ = strings.Cut(login, ":")
	b, name := benchOf(ts), flags.Arg(0)
	server := registrytest.Start(b.tb, opts)
	b.registries[name] = server
	b.logs[name] = func() []string { return logOf(server) }
	ts.Setenv(name, server.Host())
	if opts.TLS {
		ts.Check(os.WriteFile(ts.MkAbs(name+".pem"), server.Certificate(), 0o644))
	}
}

// logOf has a line a request.
func logOf(server *registrytest.Server) []string {
	var lines []string
	for _, r := range server.Requests() {
		lines = append(lines, fmt.Sprintf("%s %s %s status=%d auth=%s agent=%s",
			r.Kind, r.Method, r.Path, r.Status, r.Authorization, r.UserAgent))
	}
	return lines
}

// repositoryOf returns the registry VARIABLE and what names the image there.
func repositoryOf(ts *testscript.TestScript, args []string) (server *registrytest.Server, repo, tag string, rest []string) {
	if len(args) < 2 {
		ts.Fatalf("want VARIABLE REPOSITORY[:TAG]")
	}
	server, ok := benchOf(ts).registries[args[0]]
	if !ok {
		ts.Fatalf("no registry %s", args[0])
	}
	repo, tag, _ = strings.Cut(args[1], ":")
	return server, repo, tag, args[2:]
}

// pushed leaves the digest of what was pushed in DIGEST, its digits in HEX.
func pushed(ts *testscript.TestScript, d v1.Hash) {
	ts.Setenv("DIGEST", d.String())
	ts.Setenv("HEX", d.Hex)
}

// pushImage is: image VARIABLE REPOSITORY:TAG SIZE..., with the size of each
// layer.
func pushImage(ts *testscript.TestScript, _ bool, args []string) {
	server, repo, tag, sizes := repositoryOf(ts, args)
	spec := registrytest.ImageSpec{Seed: 1}
	for _, size := range sizes {
		n, err := strconv.ParseInt(size, 10, 64)
		ts.Check(err)
		spec.Layers = append(spec.Layers, n)
	}
	tb := benchOf(ts).tb
	pushed(ts, server.Push(tb, repo, tag, registrytest.Image(tb, spec)))
}

// pushFiles is: files VARIABLE REPOSITORY:TAG DIRECTORY..., with a layer of the files of
// each directory, the lowest first. Executable files stay so; all else is as it would be
// if root had made it at the beginning of 1970.
func pushFiles(ts *testscript.TestScript, _ bool, args []string) {
	server, repo, tag, dirs := repositoryOf(ts, args)
	tb := benchOf(ts).tb
	var layers []v1.Layer
	for _, dir := range dirs {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		root := ts.MkAbs(dir)
		ts.Check(filepath.WalkDir(root, func(path string, d iofs.DirEntry, err error) error {
			if err != nil || path == root {
				return err
			}
			return packFile(w, strings.TrimPrefix(path, root+"/"), path, d)
		}))
		ts.Check(w.Close())
		layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(b.Bytes())), nil
		}, tarball.WithMediaType(types.OCILayer))
		ts.Check(err)
		layers = append(layers, layer)
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layers...)
	ts.Check(err)
	pushed(ts, server.Push(tb, repo, tag, image))
}

// packFile adds one file to an archive.
func packFile(w *tar.Writer, name, path string, d iofs.DirEntry) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	h := &tar.Header{Name: name, Mode: 0o644, ModTime: time.Unix(0, 0)}
	var content []byte
	switch {
	case d.IsDir():
		h.Typeflag, h.Name = tar.TypeDir, name+"/"
		h.Mode = 0o755
	case d.Type() == iofs.ModeSymlink:
		h.Typeflag = tar.TypeSymlink
		if h.Linkname, err = os.Readlink(path); err != nil {
			return err
		}
	default:
		h.Mode |= int64(info.Mode().Perm() & 0o111)
		if content, err = os.ReadFile(path); err != nil {
			return err
		}
		h.Size = int64(len(content))
	}
	if err := w.WriteHeader(h); err != nil {
		return err
	}
	_, err = w.Write(content)
	return err
}

// pushIndex is: index VARIABLE REPOSITORY:TAG OS/ARCH[/VARIANT]...
func pushIndex(ts *testscript.TestScript, _ bool, args []string) {
	server, repo, tag, platforms := repositoryOf(ts, args)
	tb := benchOf(ts).tb
	var images []v1.Image
	for i, platform := range platforms {
		parts := append(strings.Split(platform, "/"), "")
		images = append(images, registrytest.Image(tb, registrytest.ImageSpec{
			Layers: []int64{1000}, Seed: uint64(i), OS: parts[0], Architecture: parts[1], Variant: parts[2],
		}))
	}
	pushed(ts, server.PushIndex(tb, repo, tag, registrytest.Index(tb, images...)))
}

// pushManifest is: manifest VARIABLE REPOSITORY:TAG FILE [MEDIATYPE]
func pushManifest(ts *testscript.TestScript, _ bool, args []string) {
	server, repo, tag, rest := repositoryOf(ts, args)
	mediaType := types.OCIManifestSchema1
	if len(rest) > 1 {
		mediaType = types.MediaType(rest[1])
	}
	pushed(ts, server.PutManifest(repo, tag, mediaType, []byte(ts.ReadFile(rest[0]))))
}

// addTestTags is: tags VARIABLE REPOSITORY COUNT; the tags t00000 and so on name
// what was pushed last.
func addTestTags(ts *testscript.TestScript, _ bool, args []string) {
	server, repo, _, rest := repositoryOf(ts, args)
	n, err := strconv.Atoi(rest[0])
	ts.Check(err)
	d, err := v1.NewHash(ts.Getenv("DIGEST"))
	ts.Check(err)
	for i := range n {
		server.Tag(repo, fmt.Sprintf("t%05d", i), d)
	}
}

// removeTag is: untag VARIABLE REPOSITORY:TAG
func removeTag(ts *testscript.TestScript, _ bool, args []string) {
	server, repo, tag, _ := repositoryOf(ts, args)
	server.Untag(repo, tag)
}

// breakRegistry is: fault VARIABLE PATTERN flip|cut|refuse|silent|pause|hold [NUMBER [TIMES]],
// for requests whose kind, method and path match; the first so many of them. What is held
// back, terminal -release releases.
func breakRegistry(ts *testscript.TestScript, _ bool, args []string) {
	server, _, _, rest := repositoryOf(ts, args)
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	var n, times int
	if len(rest) > 1 {
		n, err = strconv.Atoi(rest[1])
		ts.Check(err)
	}
	if len(rest) > 2 {
		times, err = strconv.Atoi(rest[2])
		ts.Check(err)
	}
	var fault registrytest.Fault
	switch rest[0] {
	case "flip":
		fault = registrytest.FlipAt(int64(n))
	case "cut":
		fault = registrytest.CutAfter(int64(n))
	case "refuse":
		fault = registrytest.Refuse(n, "TESTED", "refused by the test")
	case "pause":
		fault = func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			w.Header().Set("Retry-After", strconv.Itoa(n))
			w.Header().Set("X-Request-Id", "of-the-test")
			registrytest.Refuse(http.StatusTooManyRequests, "TOOMANYREQUESTS", "slow down")(w, r, req, next)
		}
	case "hold":
		held := make(chan struct{})
		benchOf(ts).answer = sync.OnceFunc(func() { close(held) })
		fault = server.Hold(held)
	case "silent":
		fault = server.Silent()
	default:
		ts.Fatalf("unknown fault %s", rest[0])
	}
	var seen atomic.Int64
	server.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		if pattern.MatchString(fmt.Sprintf("%s %s %s", req.Kind, req.Method, req.Path)) && (times == 0 || seen.Add(1) <= int64(times)) {
			fault(w, r, req, next)
			return
		}
		next(w, r)
	})
}

// healRegistry is: heal VARIABLE
func healRegistry(ts *testscript.TestScript, _ bool, args []string) {
	server, _, _, _ := repositoryOf(ts, append(args, ""))
	server.Heal()
}
