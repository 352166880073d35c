package main

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/ocidistfs/ocidistfs/registry"
)

// A hostFile is a file for a host: HOST=FILE, or FILE for the one host that a
// command is about.
type hostFile struct{ Host, Path string }

// hostFiles is the value of a flag that names such files. It can be repeated, and
// one value can name several.
type hostFiles []hostFile

func (f *hostFiles) Set(s string) error {
	for part := range strings.SplitSeq(s, ",") {
		file := hostFile{Path: part}
		if host, path, ok := strings.Cut(part, "="); ok && registry.ValidHost(host) {
			file = hostFile{registry.CanonicalHost(host), path}
		}
		if file.Path == "" {
			return fmt.Errorf("no file in %q", s)
		}
		for _, other := range *f {
			if other.Host == file.Host {
				return fmt.Errorf("%s and %s are for the same host; name each with HOST=FILE", other.Path, file.Path)
			}
		}
		*f = append(*f, file)
	}
	return nil
}

func (f *hostFiles) String() string {
	var all []string
	for _, file := range *f {
		if file.Host != "" {
			file.Path = file.Host + "=" + file.Path
		}
		all = append(all, file.Path)
	}
	return strings.Join(all, ",")
}

func (f *hostFiles) IsCumulative() bool { return true }

// of is the file for a host; "" is none.
func (f *hostFiles) of(host string) string {
	for _, file := range *f {
		if file.Host == host {
			return file.Path
		}
	}
	return ""
}

// absolute makes relative paths so that another working directory does not matter.
func (f *hostFiles) absolute() error {
	for i := range *f {
		path, err := filepath.Abs((*f)[i].Path)
		if err != nil {
			return err
		}
		(*f)[i].Path = path
	}
	return nil
}

// clientCertificates reads certificates with their keys. Those without a host are for
// the one that is named, "" being none.
func clientCertificates(named string, certs, keys hostFiles) (map[string][]tls.Certificate, error) {
	all := map[string][]tls.Certificate{}
	for _, cert := range certs {
		host := cmp.Or(cert.Host, registry.CanonicalHost(named))
		if host == "" {
			return nil, usagef("--client-cert %s is for one host: write HOST=%s, or name it with exactly one --registry", cert.Path, cert.Path)
		}
		pair, err := registry.LoadCertificate(cert.Path, keys.of(cert.Host))
		if err != nil {
			return nil, fmt.Errorf("--client-cert: %w", err)
		}
		all[host] = append(all[host], pair)
	}
	for _, key := range keys {
		if certs.of(key.Host) == "" {
			return nil, usagef("--client-key %s: there is no --client-cert for the same host", key.Path)
		}
	}
	return all, nil
}
