package registry

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
)

// defaultHosts is the directory for hosts that have none of their own.
const defaultHosts = "_default"

// configuredEndpoints returns what is configured of a host in directories as
// containerd's config_path and docker's certs.d are: of the first that exists of
// HOST_PORT_, HOST:PORT and _default in the first directory, then in the next. Where that
// has no hosts.toml, the certificates in it are the host's own, by docker's names for
// them. A host of which nothing is configured is itself alone.
//
// containerd logs a file that it cannot parse and goes on without; here that is an
// error, since what then is asked is another host than was said.
func configuredEndpoints(dirs []string, host string) (endpoints []endpointConfig, unknown []string, err error) {
	for _, root := range dirs {
		for _, name := range hostDirectories(host) {
			dir := filepath.Join(root, name)
			_, err := os.Stat(dir)
			if errors.Is(err, iofs.ErrNotExist) {
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			file := filepath.Join(dir, "hosts.toml")
			text, err := os.ReadFile(file)
			if err != nil && !errors.Is(err, iofs.ErrNotExist) {
				return nil, nil, err
			}
			if len(bytes.TrimSpace(text)) == 0 {
				c, err := dockerCertificates(dir)
				return []endpointConfig{c}, nil, err
			}
			endpoints, unknown, err := parseHosts(text, dir)
			if err != nil {
				return nil, nil, fmt.Errorf("%s: %w", file, err)
			}
			for i, key := range unknown {
				unknown[i] = file + ": " + key
			}
			return endpoints, unknown, nil
		}
	}
	return []endpointConfig{{}}, nil, nil
}

// hostDirectories are the names that a host's directory may have, the first that
// exists counts.
func hostDirectories(host string) []string {
	names := []string{host, defaultHosts}
	if i := strings.LastIndexByte(host, ':'); i > 0 && !strings.HasSuffix(host, "]") {
		names = append([]string{host[:i] + "_" + host[i+1:] + "_"}, names...)
	}
	return names
}

// dockerCertificates is a directory of docker's: *.crt are authorities, *.cert are
// client certificates, whose keys are in files of the same name in *.key, or with
// them.
func dockerCertificates(dir string) (endpointConfig, error) {
	var c endpointConfig
	entries, err := os.ReadDir(dir)
	if err != nil {
		return c, err
	}
	for _, entry := range entries {
		path := filepath.Join(dir, entry.Name())
		switch extension := filepath.Ext(path); {
		case entry.IsDir():
		case extension == ".crt":
			c.authorities = append(c.authorities, path)
		case extension == ".cert":
			pair := [2]string{path, strings.TrimSuffix(path, extension) + ".key"}
			if _, err := os.Stat(pair[1]); errors.Is(err, iofs.ErrNotExist) {
				pair[1] = ""
			} else if err != nil {
				return c, err
			}
			c.pairs = append(c.pairs, pair)
		}
	}
	return c, nil
}
