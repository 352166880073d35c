package main

import (
	"bufio"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/url"
	"os"
	"runtime"
	"strings"

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
	Insecure      []string
	CACert        string
}

func (c *connection) flags(cmd *kingpin.CmdClause) {
	cmd.Flag("anonymous", "Use no credentials, whatever docker and podman are logged in to.").BoolVar(&c.Anonymous)
	cmd.Flag("username", "User name, with --password or --password-stdin.").PlaceHolder("NAME").StringVar(&c.Username)
	cmd.Flag("password", "Password; --password-stdin keeps it from the list of processes.").PlaceHolder("PASSWORD").StringVar(&c.Password)
	cmd.Flag("password-stdin", "Read the password from standard input.").BoolVar(&c.passwordStdin)
	cmd.Flag("http", "Use a custom http.Client, which heeds no proxy of the environment.").BoolVar(&c.CustomClient)
	cmd.Flag("proxy", "Send every request through this proxy (http, https, socks5).").PlaceHolder("URL").StringVar(&c.Proxy)
	cmd.Flag("insecure", "Allow plain HTTP and certificates that cannot be verified for this host (repeatable).").PlaceHolder("HOST").StringsVar(&c.Insecure)
	cmd.Flag("ca-cert", "Trust the certificate authorities in this PEM file too.").PlaceHolder("FILE").StringVar(&c.CACert)
}

// check says what cannot be together, and reads the password.
func (c *connection) check(in io.Reader) error {
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
	}
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil || u.Host == "" || !strings.Contains(" http https socks5 socks5h ", " "+u.Scheme+" ") {
			return usagef("--proxy %s: want http://host:port, https:// or socks5://", c.Proxy)
		}
	}
	for _, host := range c.Insecure {
		if !registry.ValidHost(host) {
			return usagef("--insecure %s: not a registry's host, as in registry.example.com:5000", host)
		}
	}
	if c.passwordStdin {
		line, err := bufio.NewReader(io.LimitReader(in, 64<<10)).ReadString('\n')
		if err != nil && err != io.EOF {
			return fmt.Errorf("read the password: %w", err)
		}
		c.Password = strings.TrimRight(line, "\r\n")
		if c.Password == "" {
			return usagef("--password-stdin: standard input is empty")
		}
	}
	return nil
}

// client returns the client that the flags ask for. Credentials given by flags
// are for host and nobody else.
func (c *connection) client(host string, log *slog.Logger) (*registry.Client, error) {
	opts := registry.Options{
		CustomClient: c.CustomClient,
		Insecure:     c.Insecure,
		UserAgent:    fmt.Sprintf("ocidistfs/%s (%s/%s)", versionString(), runtime.GOOS, runtime.GOARCH),
		Logger:       log,
	}
	if c.Proxy != "" {
		u, err := url.Parse(c.Proxy)
		if err != nil {
			return nil, err
		}
		opts.Proxy = u
	}
	if c.CACert != "" {
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
		opts.RootCAs = pool
	}
	switch {
	case c.Anonymous:
		opts.Keychain = registry.Anonymous()
	case c.Username != "":
		opts.Keychain = registry.BoundCredentials(host, c.Username, c.Password, registry.DefaultKeychain())
	}
	return registry.NewClient(opts), nil
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
	if changed == nil {
		return "simple API"
	}
	return "advanced API (" + strings.Join(changed, ", ") + ")"
}
