package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A view is what a mount shows, without a mount: the flags of the commands that look at
// the tree, and how it is opened.
type view struct {
	connection
	cacheDir string
	limits   cacheLimits
	platform string
	offline  bool
	ahead    ahead
}

const pathForm = "<host>[:<port>]/<repository>/tags/<tag>/..., or digests/sha256:<hex>/... in place of tags/<tag>/..., as in a mount."

func (v *view) flags(cmd *kingpin.CmdClause) {
	v.connection.flags(cmd)
	cacheFlag(cmd, &v.cacheDir)
	v.limits.flags(cmd)
	platformFlag(cmd, &v.platform)
	cmd.Flag("offline", "Make no request: use what the cache has, whatever its age.").BoolVar(&v.offline)
	v.ahead = demoAhead
}

// An openView is a tree that is being looked at. Its user closes it, and writes to the
// streams that it has.
type openView struct {
	*tree.Tree
	streams
	screen     *screen // nil where nobody looks
	connection *connection
	client     *registry.Client
	store      *cache.Store
}

// viewTTL is for how long a command goes by what it was told itself of a tag.
const viewTTL = time.Hour

// open opens the tree. hosts are those that the call is about: flags without a host are
// for the one.
//
// What was known of tags before does not count: a command is asked when somebody wants
// to know. Each tag is asked for once.
func (v *view) open(ctx context.Context, s streams, hosts ...string) (*openView, error) {
	platform, err := parsePlatform(v.platform)
	if err != nil {
		return nil, err
	}
	slices.Sort(hosts)
	if hosts = slices.Compact(hosts); v.Username != "" && len(hosts) != 1 {
		return nil, usagef("--username is for one host; name no other")
	}
	if err := v.ahead.check(); err != nil {
		return nil, err
	}
	if err := v.check(ctx, s.in); err != nil {
		return nil, err
	}
	dir, err := cacheDir(v.cacheDir)
	if err != nil {
		return nil, err
	}
	screen, s := openScreen(s)
	log := warnings(s.err)
	v.maxWait = registry.MaxPause // whoever waits for a command can end it
	host := ""
	if len(hosts) == 1 {
		host = hosts[0]
	}
	client, err := v.client(host, log)
	if err != nil {
		return nil, err
	}
	store, err := cache.Open(dir, v.limits.options(cache.Options{Logger: log}))
	if err != nil {
		client.Close()
		return nil, advised{err, "--cache-dir names another"}
	}
	o := &openView{streams: s, screen: screen, connection: &v.connection, client: client, store: store}
	o.Tree = tree.New(tree.Options{
		Client: client, Store: store, Platform: platform, Offline: v.offline, TagTTL: viewTTL, ListTTL: viewTTL,
		ReadAhead: int64(v.ahead.ReadAhead), Connections: v.ahead.Connections,
		Logger: log, Report: func(path string, err error) { log.Warn(path, "error", err) },
	})
	if screen != nil {
		screen.watch(o.Passes, time.Tick(drawEach))
	}
	if root, ok := o.Root().(tree.Refresher); ok {
		err = root.Refresh(ctx)
	}
	if err != nil {
		o.close()
		return nil, err
	}
	return o, nil
}

func (o *openView) close() {
	if o.screen != nil {
		o.screen.close()
	}
	o.Close()
	o.client.Close()
	_ = o.store.Close() // nothing is written by then
}

// hostsIn are the hosts that paths begin with.
func hostsIn(paths []string) []string {
	var hosts []string
	for _, path := range paths {
		host, _, _ := strings.Cut(strings.TrimLeft(path, "./"), "/")
		if registry.ValidHost(host) {
			hosts = append(hosts, registry.CanonicalHost(host))
		}
	}
	return hosts
}
