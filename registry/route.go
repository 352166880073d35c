package registry

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// lookAgain is how often it is looked whether what is configured of a host is as it
// was: containerd reads it with each pull.
const lookAgain = 5 * time.Second

// A host is one registry, and where what it has may be asked for.
type host struct {
	name  string // canonical, as in references
	route contact[*route]

	mu     sync.Mutex
	looked time.Time // guarded by mu; when it was looked whether the route is as configured
}

// isDue says whether it is time to look again, to one of those who ask.
func (h *host) isDue(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.looked.IsZero() && now.Sub(h.looked) < lookAgain {
		return false
	}
	h.looked = now
	return true
}

// A route is where a registry's content is asked for: its mirrors in the order in
// which they are asked, and last the registry itself.
type route struct {
	endpoints []*endpoint
	stamp     string               // of what it was configured by
	catalog   atomic.Pointer[lane] // on which the registry is asked for its catalog; nil before it was
}

// route reads what is configured of a host, and again when that was changed. What
// cannot be read is read again by who asks later.
func (c *Client) route(ctx context.Context, h *host) (*route, error) {
	learn := func(context.Context) (*route, error) { return c.newRoute(h.name) }
	r, err := h.route.get(ctx, learn)
	if err != nil || !h.isDue(time.Now()) || configurationStamp(c.opts.HostsDirs, h.name) == r.stamp {
		return r, err
	}
	c.opts.Logger.Info("what is configured of a host has changed", "host", h.name)
	h.route.forget(r)
	for _, e := range r.endpoints {
		c.wire.forget(e.way) // who is asking by it goes on
	}
	return h.route.get(ctx, learn)
}

func (c *Client) newRoute(host string) (*route, error) {
	// Before what it is of: a change in between is then found.
	r := &route{stamp: configurationStamp(c.opts.HostsDirs, host)}
	configs, unknown, err := configuredEndpoints(c.opts.HostsDirs, host)
	for _, key := range unknown {
		c.opts.Logger.Warn("means nothing here, and is ignored", "key", key)
	}
	for i, config := range configs {
		var e *endpoint
		retries := 0 // of a mirror: the next one is asked
		if i == len(configs)-1 {
			retries = c.opts.Retries
		}
		if err == nil {
			e, err = c.newEndpoint(host, config, retries)
			r.endpoints = append(r.endpoints, e)
		}
		if err == nil && i < len(configs)-1 {
			e.passOn()
		}
	}
	if err != nil {
		// In words alone: a file that is missing is no tag that is missing.
		return nil, &Error{Op: "configure", Ref: host, Err: errors.New(err.Error())}
	}
	return r, nil
}

// configurationStamp is another one when what [configuredEndpoints] reads of a host is
// written, made or removed. The certificates that a hosts.toml names are not looked
// at.
func configurationStamp(dirs []string, host string) string {
	var stamp strings.Builder
	for _, root := range dirs {
		for _, name := range hostDirectories(host) {
			for _, path := range []string{filepath.Join(root, name), filepath.Join(root, name, "hosts.toml")} {
				if info, err := os.Stat(path); err == nil {
					fmt.Fprintln(&stamp, path, info.ModTime().UnixNano(), info.Size())
				}
			}
		}
	}
	return stamp.String()
}

// Configure reads now what is configured of a host, which otherwise its first use
// does. It asks nobody.
func (c *Client) Configure(ctx context.Context, hostName string) error {
	c.mu.Lock()
	h := c.host(CanonicalHost(hostName))
	c.mu.Unlock()
	_, err := c.route(ctx, h)
	return err
}
