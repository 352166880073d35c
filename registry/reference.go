package registry

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// DockerHub is the one name of Docker's registry; its other names mean it.
const DockerHub = "docker.io"

// MaxName bounds a repository's name with its host: registries and clients refuse
// what is longer. It is in bytes.
const MaxName = 255

var (
	componentPattern = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
	tagPattern       = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	digestPattern    = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	labelPattern     = regexp.MustCompile(`^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$`)
)

// A Reference names an image as the command line does. It is comparable; the
// zero Digest stands for none.
type Reference struct {
	Host       string // with its port, canonical
	Repository string // without the host
	Tag        string
	Digest     Digest
}

// ParseReference parses <host>[:<port>]/path[:tag][@sha256:hash]. The host is
// required: a name without one means different things to different tools.
func ParseReference(s string) (Reference, error) {
	ref := Reference{}
	rest, digest, ok := strings.Cut(s, "@")
	if ok {
		d, err := ParseDigest(digest)
		if err != nil {
			return Reference{}, fmt.Errorf("reference %q: %w", s, err)
		}
		ref.Digest = d
	}
	host, path, ok := strings.Cut(rest, "/")
	if !ok || !ValidHost(host) {
		return Reference{}, fmt.Errorf("reference %q: it starts with no registry host; write it in full, as in %s", s, fullForm(s))
	}
	ref.Host = CanonicalHost(host)
	if i := strings.LastIndexByte(path, ':'); i >= 0 {
		ref.Tag = path[i+1:]
		path = path[:i]
		if !ValidTag(ref.Tag) {
			return Reference{}, fmt.Errorf("reference %q: %q is no tag: up to 128 letters, digits, '_', '.' and '-', beginning with none of the last two", s, ref.Tag)
		}
	}
	for _, c := range strings.Split(path, "/") {
		if !ValidComponent(c) {
			return Reference{}, fmt.Errorf("reference %q: %q is no part of a repository's name: lower-case letters and digits, separated by '.', '_', '__' or '-'", s, c)
		}
	}
	if ref.Host == DockerHub && !strings.Contains(path, "/") {
		path = "library/" + path
	}
	ref.Repository = path
	if len(ref.Name()) > MaxName {
		return Reference{}, fmt.Errorf("reference %q: the name is longer than %d bytes", s, MaxName)
	}
	return ref, nil
}

// fullForm guesses what was meant by a reference without a host.
func fullForm(s string) string {
	if _, rest, ok := strings.Cut(s, "://"); ok {
		s = rest // an address, or as skopeo has it
	}
	s = strings.TrimLeft(s, "/")
	name, _, _ := strings.Cut(s, "@")
	host, _, hasPath := strings.Cut(name, "/")
	switch {
	case name == "":
		return DockerHub + "/library/alpine:3.10"
	case hasPath && ValidHost(strings.ToLower(host)):
		return strings.ToLower(host) + s[len(host):]
	case hasPath:
		return DockerHub + "/" + s
	}
	return DockerHub + "/library/" + s
}

// Name is the repository with its host.
func (r Reference) Name() string { return r.Host + "/" + r.Repository }

func (r Reference) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != (Digest{}) {
		s += "@" + r.Digest.String()
	}
	return s
}

// ValidHost says whether s can be a registry's host: "localhost", or a name with
// a dot or a port, or a bracketed IPv6 address; lower-case, by the rules of RFC
// 1123. Names that desktops look for in every directory are none.
func ValidHost(s string) bool {
	switch s {
	case "autorun.inf", "desktop.ini", "thumbs.db", "folder.jpg", "cover.jpg", "bdmv.inf", "mimeapps.list":
		return false
	}
	if rest, ok := strings.CutPrefix(s, "["); ok {
		address, port, ok := strings.Cut(rest, "]")
		if !ok || (port != "" && !validPort(port)) {
			return false
		}
		ip, err := netip.ParseAddr(address)
		return err == nil && ip.Is6() && ip.Zone() == "" && address == strings.ToLower(address)
	}
	name, port, hasPort := strings.Cut(s, ":")
	if hasPort && !validPort(":"+port) {
		return false
	}
	if name != "localhost" && !hasPort && !strings.Contains(name, ".") {
		return false
	}
	if len(name) > 253 {
		return false
	}
	for _, label := range strings.Split(name, ".") {
		if !labelPattern.MatchString(label) {
			return false
		}
	}
	return true
}

// validPort checks ":port".
func validPort(s string) bool {
	digits, ok := strings.CutPrefix(s, ":")
	n, err := strconv.Atoi(digits)
	return ok && err == nil && n > 0 && n < 1<<16 && digits == strconv.Itoa(n)
}

// CanonicalHost is the one name that is used for a host.
func CanonicalHost(s string) string {
	if s == "index.docker.io" || s == "registry-1.docker.io" {
		return DockerHub
	}
	return s
}

// ValidComponent says whether s can stand between two slashes of a repository's
// name (distribution spec, "Pulling manifests").
func ValidComponent(s string) bool { return len(s) <= MaxName && componentPattern.MatchString(s) }

// ValidTag says whether s can be a tag (the same section of the spec).
func ValidTag(s string) bool { return tagPattern.MatchString(s) }

// ParseDigest parses sha256:<64 lower-case hexadecimal digits>, the one
// algorithm that registries serve.
func ParseDigest(s string) (Digest, error) {
	if !digestPattern.MatchString(s) {
		return Digest{}, fmt.Errorf("digest %q: want sha256: and 64 lower-case hexadecimal digits", s)
	}
	return v1.NewHash(s)
}

// splitName checks "host/path" and cuts it.
func splitName(name string) (host, path string, err error) {
	ref, err := ParseReference(name)
	if err != nil {
		return "", "", err
	}
	if ref.Tag != "" || ref.Digest != (Digest{}) {
		return "", "", fmt.Errorf("repository %q: it has a tag or a digest", name)
	}
	return ref.Host, ref.Repository, nil
}
