package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A mountStatus is what a mount says of itself in status.json.
type mountStatus struct {
	Version    string         `json:"version"`
	Go         string         `json:"go"`
	PID        int            `json:"pid"`
	Goroutines int            `json:"goroutines"`
	Mountpoint string         `json:"mountpoint"`
	Started    time.Time      `json:"started"`
	Platform   string         `json:"platform"`
	TagTTL     string         `json:"tagTTL"`
	ListTTL    string         `json:"listTTL"`
	Offline    bool           `json:"offline"`
	Stale      []staleTag     `json:"stale"`
	Layers     []layerPass    `json:"layers"`
	CacheDir   string         `json:"cacheDir"`
	CacheRoom  cache.Room     `json:"cacheRoom"`
	Cache      cache.Stats    `json:"cache"`
	Registries registry.Stats `json:"registries"`
}

// status returns what makes the status of the mount.
func (m *mount) status(client *registry.Client, store *cache.Store, t *tree.Tree, platform tree.Platform) func() any {
	started := time.Now().UTC().Truncate(time.Second)
	return func() any {
		return mountStatus{
			versionString(), runtime.Version(), os.Getpid(), runtime.NumGoroutine(), m.Mountpoint, started, platform.String(),
			m.TagTTL.String(), m.ListTTL.String(), m.Staleness.Offline, staleTags(t.Stale(), time.Now()), layerPasses(t.Passes()), store.Dir(), store.Room(), store.Stats(), client.Stats(),
		}
	}
}

// A staleTag is a tag that means what it did, since its registry fails.
type staleTag struct {
	Reference string    `json:"reference"`
	Digest    string    `json:"digest"`
	Age       string    `json:"age"` // since the registry said so
	Since     time.Time `json:"since"`
	Error     string    `json:"error"`
}

// shownStale bounds how many a status has; the file is made anew for each look.
const shownStale = 100

func staleTags(tags []tree.StaleTag, now time.Time) []staleTag {
	shown := make([]staleTag, 0, min(len(tags), shownStale))
	for _, t := range tags[:min(len(tags), shownStale)] {
		age := max(now.Sub(t.Confirmed), 0).Round(time.Second)
		shown = append(shown, staleTag{t.Reference, t.Digest, age.String(), t.Since.UTC(), t.Reason})
	}
	return shown
}

// A layerPass is a layer that is being read, since somebody looks into an image.
type layerPass struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"`
	Read       int64  `json:"readBytes"`
	Size       int64  `json:"sizeBytes"`
}

// shownPasses bounds how many a status has.
const shownPasses = 100

func layerPasses(passes []tree.LayerPass) []layerPass {
	shown := make([]layerPass, 0, min(len(passes), shownPasses))
	for _, p := range passes[:min(len(passes), shownPasses)] {
		shown = append(shown, layerPass{p.Repository, p.Layer.String(), p.Read, p.Size})
	}
	return shown
}

// A mountReport is a mount as seen from outside.
type mountReport struct {
	Mountpoint string `json:"mountpoint"`
	// State is "serving", or why nothing more is known: "stale" where the process
	// is gone, "silent" where it does not answer, "closed" where others may not
	// look, "unknown" else, for the reason in Error.
	State string `json:"state"`
	Error string `json:"error,omitempty"`
	// Mount and Errors are what status.json says.
	Mount  *mountStatus `json:"mount,omitempty"`
	Errors []mountError `json:"errors,omitempty"`
	// Usage is of the cache directory; nil where this user cannot see it.
	Usage *cache.Usage `json:"cacheUsage,omitempty"`
}

// A mountError is an error that the mount answered with.
type mountError struct {
	Time  time.Time `json:"time"`
	Path  string    `json:"path"`
	Errno string    `json:"errno"`
	Error string    `json:"error"`
	Count int       `json:"count"`
}

// stateUnknown is why a mount has no status where nothing else is known.
const stateUnknown = "unknown"

// stateOf is the word for why a mount has no status.
func stateOf(err error) string {
	for _, c := range []struct {
		is    error
		state string
	}{{fs.ErrNotMounted, "unmounted"}, {fs.ErrStale, "stale"}, {fs.ErrSilent, "silent"}, {os.ErrPermission, "closed"}} {
		if errors.Is(err, c.is) {
			return c.state
		}
	}
	return stateUnknown
}

// report asks the mount at a mountpoint. The error is fs.ErrNotMounted, or of
// the way there: that a mount does not answer is a report.
func report(ctx context.Context, mountpoint string) (mountReport, error) {
	look := probe{Do: readStatus, Path: mountpoint}
	found, err := look.run(ctx)
	path := found.Path
	if path == "" && errors.Is(err, fs.ErrSilent) {
		path = mountpoint
	}
	switch {
	case errors.Is(err, fs.ErrNotMounted), path == "":
		return mountReport{}, err
	case err != nil:
		return mountReport{Mountpoint: path, State: stateOf(err), Error: err.Error()}, nil
	}
	var said struct {
		Mount  *mountStatus
		Errors []mountError
	}
	err = json.Unmarshal(found.Status, &said)
	if err == nil && said.Mount == nil {
		err = errors.New("it tells of no mount")
	}
	if err != nil {
		return mountReport{Mountpoint: path, State: stateUnknown, Error: fmt.Sprintf("status.json: %v", err)}, nil
	}
	r := mountReport{Mountpoint: path, State: "serving", Mount: said.Mount, Errors: said.Errors}
	if usage, err := cache.UsageOf(said.Mount.CacheDir); err == nil {
		r.Usage = &usage
	}
	return r, nil
}
