package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
)

// logins looks at what docker and podman are configured with, and at the programs
// that docker's configuration names.
func (d *doctor) logins(ctx context.Context) {
	path := filepath.Join(config.Dir(), config.ConfigFileName)
	about := "docker's configuration " + path
	_, err := os.Stat(path)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			d.add(sound(about, "there is none: registries are asked without credentials, unless podman has some"))
		} else {
			d.add(broken(about, err.Error(), "DOCKER_CONFIG names the directory that it is in"))
		}
	} else {
		file, err := config.Load(config.Dir())
		if err != nil {
			d.add(broken(about, err.Error(), "mend it, or move it away and log in again; DOCKER_CONFIG names the directory that it is in"))
			return
		}
		helpers := map[string]bool{}
		if file.CredentialsStore != "" {
			helpers[file.CredentialsStore] = true
		}
		for _, helper := range file.CredentialHelpers {
			helpers[helper] = true
		}
		d.add(sound(about, "%d logins in it, %d credential helpers named", len(file.AuthConfigs), len(helpers)))
		for _, helper := range slices.Sorted(maps.Keys(helpers)) {
			d.add(credentialHelper(ctx, "docker-credential-"+helper))
		}
	}
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		about := "podman's file " + path
		b, err := os.ReadFile(path)
		if err == nil {
			_, err = config.LoadFromReader(bytes.NewReader(b))
		}
		if err != nil {
			d.add(broken(about, err.Error(), "REGISTRY_AUTH_FILE names it: mend it, or unset that"))
		} else {
			d.add(sound(about, "it can be read"))
		}
	}
}

// helperPatience is how long a credential helper may take. A mount waits longer
// for one, and then goes on without.
const helperPatience = 10 * time.Second

// credentialHelper runs a helper's command list, which shows no secrets: by it,
// one tells whether the program runs at all.
func credentialHelper(ctx context.Context, name string) finding {
	const advice = "install it, or take it out of docker's configuration (credsStore, credHelpers)"
	path, err := exec.LookPath(name)
	if err != nil {
		return broken(name, "docker's configuration names it, and it is not in PATH", advice)
	}
	ctx, cancel := context.WithTimeout(ctx, helperPatience)
	defer cancel()
	var said bytes.Buffer
	list := exec.CommandContext(ctx, path, "list")
	list.Stderr = &said
	list.WaitDelay = time.Second
	out, err := list.Output()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return broken(name, fmt.Sprintf("it does not answer within %s", helperPatience), "it may be waiting for somebody: run "+name+" list at a terminal")
	case errors.As(err, &exit):
		// A helper writes its errors to standard output too.
		line, _, _ := strings.Cut(strings.TrimSpace(said.String()+"\n"+string(out)), "\n")
		if len(line) > 200 || strings.Contains(line, `"Secret"`) {
			line = ""
		}
		return note(name, fmt.Sprintf("it runs, and cannot list what it has (%v): %s", err, line), "some helpers never can; run "+name+" list to see")
	case err != nil:
		return broken(name, err.Error(), advice)
	}
	return sound(name, "it runs: %s", path)
}

// proxyVariables are those that are heeded, each also in lower case.
var proxyVariables = []string{"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"}

// dialLimit is how long a host may take to answer the telephone.
const dialLimit = 10 * time.Second

// proxies looks at the variables that name proxies, and whether anybody listens
// there. No password is shown.
func (d *doctor) proxies(ctx context.Context) {
	given := false
	for _, name := range proxyVariables {
		value := os.Getenv(name)
		if lower := os.Getenv(strings.ToLower(name)); value == "" && lower != "" {
			name, value = strings.ToLower(name), lower
		}
		if value == "" {
			continue
		}
		given = true
		if strings.EqualFold(name, "NO_PROXY") {
			d.add(sound(name, "%s", value))
			continue
		}
		d.add(d.proxy(ctx, name, value))
	}
	switch {
	case d.connection.Proxy != "":
		d.add(d.proxy(ctx, "--proxy", d.connection.Proxy))
	case !given && os.Getenv("ALL_PROXY")+os.Getenv("all_proxy") != "":
		d.add(note("ALL_PROXY", "it is not heeded", "HTTPS_PROXY is, and --proxy"))
	case !given:
		d.add(sound("proxy", "none is named by the environment"))
	}
}

func (d *doctor) proxy(ctx context.Context, name, value string) finding {
	if !strings.Contains(value, "://") { // as net/http has it
		value = "http://" + value
	}
	u, err := url.Parse(value)
	if err != nil || u.Hostname() == "" {
		return broken(name, "it is no address of a proxy", "want http://host:port, https://host:port or socks5://host:port")
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	if port == "" {
		port = "80"
	}
	conn, err := dialTCP(ctx, net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return broken(name, fmt.Sprintf("%s: %v", u.Redacted(), err), "check it, and that it runs; NO_PROXY names the hosts that need none")
	}
	_ = conn.Close() // nothing was said
	return sound(name, "%s: somebody listens there", u.Redacted())
}

func dialTCP(ctx context.Context, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: dialLimit}).DialContext(ctx, "tcp", address)
}
