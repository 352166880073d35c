package main

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/registry"
)

// A connection is how registries are reached: the flags that every command has
// which talks to one. It goes to the process of a background mount as JSON,
// through a pipe, since it may hold a password.
type connection struct {
	Anonymous     bool
	Username      string
	Password      string
	passwordStdin bool
	CustomClient  bool
	Proxy         string
	Insecure      hosts
	CACert        string
	ReadTimeout   time.Duration
	Retries       int
	maxWait       time.Duration // as in [registry.Options]
	ClientCert    hostFiles
	ClientKey     hostFiles
	HostsDir      string // a list, as of PATH
	AllowHosts    hostPatterns
}

// defaultHostsDir is where containerd and docker look.
const defaultHostsDir = "/etc/containerd/certs.d:/etc/docker/certs.d"

func (c *connection) flags(cmd *kingpin.CmdClause) {
	cmd.Flag("anonymous", "Use no credentials, whatever docker and podman are logged in to.").BoolVar(&c.Anonymous)
	cmd.Flag("username", "User name, with --password or --password-stdin.").PlaceHolder("NAME").StringVar(&c.Username)
	cmd.Flag("password", "Password; --password-stdin keeps it from the list of processes.").PlaceHolder("PASSWORD").StringVar(&c.Password)
	cmd.Flag("password-stdin", "Read the password from standard input.").BoolVar(&c.passwordStdin)
	cmd.Flag("http", "Use a custom http.Client, which heeds no proxy of the environment.").BoolVar(&c.CustomClient)
	cmd.Flag("proxy", "Send every request through this proxy (http, https, socks5).").PlaceHolder("URL").StringVar(&c.Proxy)
	cmd.Flag("insecure", "Allow plain HTTP and certificates that cannot be verified for this host (repeatable, or a list with commas).").PlaceHolder("HOST").SetValue(&c.Insecure)
	cmd.Flag("ca-cert", "Trust the certificate authorities in this PEM file too.").PlaceHolder("FILE").StringVar(&c.CACert)
	cmd.Flag("read-timeout", "How long to wait for a registry's next byte.").Default("30s").DurationVar(&c.ReadTimeout)
	cmd.Flag("retries", "How often to repeat a request that a connection or the registry failed.").Default(fmt.Sprint(registry.DefaultRetries)).IntVar(&c.Retries)
	cmd.Flag("client-cert", "Show this certificate (PEM) to the host that is named, or to HOST where it is HOST=FILE (repeatable, or a list with commas).").PlaceHolder("FILE").SetValue(&c.ClientCert)
	cmd.Flag("client-key", "The key of a --client-cert, where that file does not have it.").PlaceHolder("FILE").SetValue(&c.ClientKey)
	cmd.Flag("hosts-dir", "Mirrors and certificates by host, as containerd (hosts.toml) and docker have them: directories with colons between; empty is none. By default "+defaultHostsDir+".").Default(defaultHostsDir).PlaceHolder("DIR").StringVar(&c.HostsDir)
	cmd.Flag("allow-hosts", "Contact no other registries than these; * stands for any part of a name (repeatable, or a list with commas).").PlaceHolder("HOST").SetValue(&c.AllowHosts)
}

// check says what cannot be together, and reads the password.
func (c *connection) check(ctx context.Context, in io.Reader) error {
	hasPassword := c.Password != "" || c.passwordStdin
	switch {
	case c.Anonymous && (c.Username != "" || hasPassword):
		return usagef("--anonymous and --username exclude each other")
	case c.Username != "" && !hasPassword:
		return usagef("--username needs --password or --password-stdin")
	case c.Username == "" && hasPassword:
		return usagef("a password needs --username")
	case c.Password != "" && c.passwordStdin:
		return usagef("--password and --password-stdin exclude each other")
	case c.ReadTimeout <= 0:
		return usagef("--read-timeout has to be more than nothing")
	case c.Retries < 0:
		return usagef("--retries cannot be negative")
	}
	if c.Proxy != "" {
		if _, err := c.proxy(); err != nil {
			return usageError{err}
		}
	}
	if !c.passwordStdin {
		return nil
	}
	var err error
	c.Password, err = readPassword(ctx, in)
	return err
}

// absolute makes relative paths so that another working directory does not matter.
func (c *connection) absolute() error {
	dirs := filepath.SplitList(c.HostsDir)
	for i := range dirs {
		var err error
		if dirs[i], err = filepath.Abs(dirs[i]); err != nil {
			return err
		}
	}
	c.HostsDir = strings.Join(dirs, string(filepath.ListSeparator))
	if c.CACert != "" {
		var err error
		if c.CACert, err = filepath.Abs(c.CACert); err != nil {
			return err
		}
	}
	return errors.Join(c.ClientCert.absolute(), c.ClientKey.absolute())
}

// readPassword reads one line. A read of a terminal heeds no context: it is left
// behind.
func readPassword(ctx context.Context, in io.Reader) (string, error) {
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := bufio.NewReader(io.LimitReader(in, 64<<10)).ReadString('\n')
		read <- result{line, err}
	}()
	select {
	case r := <-read:
		password := strings.TrimRight(r.line, "\r\n")
		switch {
		case r.err != nil && !errors.Is(r.err, io.EOF):
			return "", fmt.Errorf("read the password: %w", r.err)
		case password == "":
			return "", usagef("--password-stdin: there is no password on standard input")
		}
		return password, nil
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// proxy is the flag's value, which can hold a password: no error shows it.
func (c *connection) proxy() (*url.URL, error) {
	u, err := url.Parse(c.Proxy)
	if err != nil || u.Hostname() == "" || !slices.Contains([]string{"http", "https", "socks5", "socks5h"}, u.Scheme) {
		return nil, errors.New("--proxy: want http://host:port, https://host:port or socks5://host:port")
	}
	return u, nil
}

// repository returns the repository of a reference, its client, and what ends
// both.
func (c *connection) repository(ctx context.Context, ref registry.Reference, s streams) (*registry.Repository, *registry.Client, func(), error) {
	if err := c.check(ctx, s.in); err != nil {
		return nil, nil, nil, err
	}
	// Whoever waits for a command can end it; a mount's readers have but a minute.
	c.maxWait = registry.MaxPause
	client, err := c.client(ref.Host, warnings(s.err))
	if err != nil {
		return nil, nil, nil, err
	}
	repo, err := client.Repository(ref.Name())
	if err == nil {
		err = client.Configure(ctx, ref.Host)
	}
	if err != nil {
		client.Close()
		return nil, nil, nil, err
	}
	return repo, client, client.Close, nil
}

// client returns the client that the flags ask for. Credentials and certificates
// given by flags without a host are for host and nobody else.
func (c *connection) client(host string, log *slog.Logger) (*registry.Client, error) {
	var err error
	opts := registry.Options{
		CustomClient: c.CustomClient,
		Insecure:     c.Insecure,
		HostsDirs:    filepath.SplitList(c.HostsDir),
		AllowHosts:   c.AllowHosts,
		UserAgent:    fmt.Sprintf("ocidistfs/%s (%s/%s)", versionString(), runtime.GOOS, runtime.GOARCH),
		Logger:       log,
		ReadTimeout:  c.ReadTimeout,
		Retries:      c.Retries,
		MaxWait:      c.maxWait,
	}
	if c.Retries == 0 {
		opts.Retries = -1
	}
	if c.Proxy != "" {
		if opts.Proxy, err = c.proxy(); err != nil {
			return nil, err
		}
	}
	if opts.RootCAs, err = c.authorities(); err != nil {
		return nil, err
	}
	if opts.Certificates, err = clientCertificates(host, c.ClientCert, c.ClientKey); err != nil {
		return nil, err
	}
	switch {
	case c.Anonymous:
		opts.Keychain = registry.Anonymous()
	case c.Username != "":
		opts.Keychain = registry.BoundCredentials(host, c.Username, c.Password, registry.DefaultKeychain())
	}
	return registry.NewClient(opts), nil
}

// authorities are those that are trusted; nil are the system's.
func (c *connection) authorities() (*x509.CertPool, error) {
	if c.CACert == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CACert)
	if err != nil {
		return nil, fmt.Errorf("--ca-cert: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--ca-cert %s: no certificate in PEM format", c.CACert)
	}
	return pool, nil
}

// api names what the options changed about how registries are spoken to.
func (c *connection) api() string {
	var changed []string
	add := func(given bool, name string) {
		if given {
			changed = append(changed, name)
		}
	}
	add(c.Anonymous || c.Username != "", "authentication")
	add(c.CustomClient, "http.Client")
	add(c.Proxy != "", "proxy")
	add(len(c.Insecure) > 0, "insecure hosts")
	add(c.CACert != "", "certificate authorities")
	add(len(c.ClientCert) > 0, "client certificates")
	if changed == nil {
		return "simple API"
	}
	return "advanced API (" + strings.Join(changed, ", ") + ")"
}
