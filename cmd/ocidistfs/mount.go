package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/alecthomas/kingpin/v2"
	"github.com/docker/cli/cli/config"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// A mount is what is served, and how. Its exported fields go to the process in
// the background as JSON.
type mount struct {
	Connection connection
	Logging    logging
	Ahead      ahead
	Staleness  staleness
	Memory     byteSize
	Pace       int
	Mountpoint string // absolute
	CacheDir   string // absolute
	Limits     cacheLimits
	TagTTL     time.Duration
	ListTTL    time.Duration
	AllTags    bool
	OpTimeout  time.Duration
	Platform   string
	Registries hosts
	AllowOther bool
	Exec       bool
	UID, GID   uint32
}

// othersWarning is what whoever mounts for others has to know.
const othersWarning = "with --allow-other every user of this machine reads what your credentials may read, and asks registries in your name"

// minMemory is what a mount needs to be of use: a few manifests of the largest
// kind, and room for the READs of some programs.
const minMemory = 64 << 20

const mountExamples = `ocidistfs mount /mnt/reg
# In the foreground, with what happens on the terminal:
ocidistfs mount --foreground --log-level info /mnt/reg
# A registry of one's own, listed in the root, with its authority and a password:
ocidistfs mount --registry reg.example.com:5000 --ca-cert ca.pem --username alice --password-stdin /mnt/reg <password
# For all users of the machine, images of another platform:
ocidistfs mount --allow-other --platform linux/arm64 /mnt/arm
# What can be done then:
ls /mnt/reg/docker.io/library/alpine/tags
cp /mnt/reg/docker.io/library/alpine/tags/3.10/image.tar /tmp/foo.tar
docker load </mnt/reg/docker.io/library/alpine/tags/3.10/image.tar
`

func addMount(app *kingpin.Application) (string, command) {
	var m mount
	var foreground bool
	cmd := app.Command("mount", "Mount all registries as a directory, in the background.").HelpLong(mountExamples)
	m.Connection.flags(cmd)
	m.Logging.flags(cmd)
	cacheFlag(cmd, &m.CacheDir)
	m.Limits.flags(cmd)
	m.Ahead.flags(cmd)
	cmd.Flag("tag-ttl", "For how long a tag is not asked for again.").Default("60s").DurationVar(&m.TagTTL)
	cmd.Flag("list-ttl", "For how long a list of tags, repositories or referrers is not asked for again.").Default("60s").DurationVar(&m.ListTTL)
	cmd.Flag("all-tags", "List the tags too that stand for what refers to an image, such as signatures.").BoolVar(&m.AllTags)
	cmd.Flag("op-timeout", "How long a system call may take.").Default("60s").DurationVar(&m.OpTimeout)
	m.Staleness.flags(cmd)
	cmd.Flag("pace", "How many new manifests a second one program may ask for, after the first fifty; programs that index file systems get none. 0 lets all.").Default("10").IntVar(&m.Pace)
	cmd.Flag("memory", "How much memory the mount aims to stay below.").Default("256MiB").SetValue(&m.Memory)
	platformFlag(cmd, &m.Platform)
	cmd.Flag("registry", "List this host in the root (repeatable, or a list with commas).").PlaceHolder("HOST").SetValue(&m.Registries)
	cmd.Flag("allow-other", "Let other users look, by mode bits: what they look at is asked for with the credentials of who mounts.").BoolVar(&m.AllowOther)
	cmd.Flag("exec", "Let programs run that are in images, as below rootfs.").BoolVar(&m.Exec)
	cmd.Flag("uid", "Owner of the files; by default who mounts.").PlaceHolder("UID").Default(fmt.Sprint(os.Getuid())).Uint32Var(&m.UID)
	cmd.Flag("gid", "Group of the files; by default that of who mounts.").PlaceHolder("GID").Default(fmt.Sprint(os.Getgid())).Uint32Var(&m.GID)
	cmd.Flag("foreground", "Stay, until a signal or an unmount.").Short('f').BoolVar(&foreground)
	cmd.Arg("MOUNTPOINT", "An empty directory.").Required().StringVar(&m.Mountpoint)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		if err := m.check(ctx, s); err != nil {
			return err
		}
		if m.AllowOther {
			if _, err := fmt.Fprintln(s.err, "ocidistfs: warning:", othersWarning); err != nil {
				return err
			}
		}
		if !foreground {
			return m.background(ctx)
		}
		log, closeLog, err := m.Logging.open(s.err)
		if err != nil {
			return err
		}
		defer closeLog()
		return m.serve(ctx, log, func() error {
			_, err := fmt.Fprintf(s.err, "ocidistfs: serving registries at %s; stop with Ctrl-C or: ocidistfs unmount %s\n", m.Mountpoint, m.Mountpoint)
			return err
		})
	}
}

// check finds what is wrong before anything is started, and makes what is
// relative absolute: the process that serves has another working directory.
func (m *mount) check(ctx context.Context, s streams) error {
	if m.Connection.Username != "" && len(m.Registries) != 1 {
		return usagef("--username is for one host: name it with exactly one --registry")
	}
	if m.TagTTL < 0 || m.ListTTL < 0 {
		return usagef("--tag-ttl and --list-ttl cannot be negative")
	}
	if m.OpTimeout <= 0 {
		return usagef("--op-timeout has to be more than nothing")
	}
	if err := m.Ahead.check(); err != nil {
		return err
	}
	if err := m.Staleness.check(); err != nil {
		return err
	}
	if m.Pace < 0 {
		return usagef("--pace cannot be negative")
	}
	if m.Memory < minMemory {
		return usagef("--memory %s: at least 64MiB", &m.Memory)
	}
	if _, err := parsePlatform(m.Platform); err != nil {
		return err
	}
	if err := m.Connection.check(ctx, s.in); err != nil {
		return err
	}
	var err error
	if m.CacheDir, err = cacheDir(m.CacheDir); err != nil {
		return err
	}
	if err := m.Connection.absolute(); err != nil {
		return err
	}
	if err := m.named(ctx); err != nil {
		return err
	}
	for _, path := range []*string{&m.Mountpoint, &m.Logging.File} {
		if *path == "" {
			continue
		}
		if *path, err = filepath.Abs(*path); err != nil {
			return err
		}
	}
	outside := append(filepath.SplitList(m.Connection.HostsDir), config.Dir())
	for _, path := range []string{m.Logging.File, os.Getenv("REGISTRY_AUTH_FILE")} {
		if path != "" {
			outside = append(outside, path)
		}
	}
	// Something may be mounted there that does not answer.
	look := probe{Do: mountable, Path: m.Mountpoint, AllowOther: m.AllowOther, CacheDir: m.CacheDir, Outside: outside}
	if _, err := look.run(ctx); err != nil {
		return err
	}
	// A link could lead elsewhere by the time of the unmount.
	m.Mountpoint, err = filepath.EvalSymlinks(m.Mountpoint)
	return err
}

// host is the one that flags without a host are for, or "".
func (m *mount) host() string {
	if len(m.Registries) == 1 {
		return m.Registries[0]
	}
	return ""
}

// named finds what is wrong with what is configured of the hosts that are named.
// That of others is read when somebody looks there.
func (m *mount) named(ctx context.Context) error {
	client, err := m.Connection.client(m.host(), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, host := range m.Registries {
		if err := client.Allowed(host); err != nil {
			return usageError{fmt.Errorf("--registry %w", err)}
		}
		if err := client.Configure(ctx, host); err != nil {
			return err
		}
	}
	return nil
}

// serve mounts, says so by ready, and returns when the mount is gone. When ctx
// ends it unmounts.
func (m *mount) serve(ctx context.Context, log *slog.Logger, ready func() error) (err error) {
	m.Connection.maxWait = m.OpTimeout / 2 // and as much to answer in
	client, err := m.Connection.client(m.host(), log)
	if err != nil {
		return err
	}
	defer client.Close()
	store, err := cache.Open(m.CacheDir, m.Limits.options(cache.Options{Logger: log}))
	if err != nil {
		return advised{err, "--cache-dir names another"}
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	platform, err := parsePlatform(m.Platform)
	if err != nil {
		return err
	}
	limitMemory(int64(m.Memory))
	mistakes := fs.NewErrorLog(nil)
	t := tree.New(tree.Options{
		Client: client, Store: store,
		Registries: append(configuredHosts(log), m.Registries...),
		TagTTL:     m.TagTTL, ListTTL: m.ListTTL, AllTags: m.AllTags, Platform: platform,
		ReadAhead: int64(m.Ahead.ReadAhead), Connections: m.Ahead.Connections,
		StaleIfError: m.Staleness.StaleIfError, Offline: m.Staleness.Offline, Pace: m.Pace,
		Memory: int64(m.Memory) / 2,
		Logger: log, Report: mistakes.Add,
	})
	defer t.Close()
	server, err := fs.Mount(m.Mountpoint, t.Root(), fs.Options{
		AllowOther: m.AllowOther, Exec: m.Exec, UID: m.UID, GID: m.GID, OpTimeout: m.OpTimeout, Logger: log, Errors: mistakes, Memory: int64(m.Memory),
		Status: m.status(client, store, t, platform),
	})
	if err != nil {
		return err
	}
	gone := make(chan struct{})
	go func() { server.Wait(); close(gone) }()
	if m.AllowOther && m.Logging.File != "" { // whoever mounts has been told
		log.Warn(othersWarning, "mountpoint", m.Mountpoint)
	}
	if err := ready(); err != nil {
		return errors.Join(err, server.Unmount())
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return server.Unmount()
	}
}

// configuredHosts are the registries that docker is logged in to. A
// configuration that cannot be read is a warning, as it is for credentials.
func configuredHosts(log *slog.Logger) []string {
	file, err := config.Load(config.Dir())
	if err != nil {
		log.Warn("docker's configuration", "error", err)
		return nil
	}
	var hosts []string
	for name := range file.GetAuthConfigs() {
		if host := registry.HostOfCredentials(name); host != "" {
			hosts = append(hosts, host)
		}
	}
	return hosts
}
