package registry

import (
	"errors"
	"fmt"
	"path"
	"slices"
)

// ErrNotAllowed is a host that the client may not contact.
var ErrNotAllowed = errors.New("this host is not served here; --allow-hosts names those that are")

// CheckHostPattern says why s names no hosts for [Options.AllowHosts].
func CheckHostPattern(s string) error {
	if ValidHost(s) {
		return nil
	}
	if _, err := path.Match(s, ""); err != nil || s == "" {
		return fmt.Errorf("%q is no pattern for hosts, as in *.example.com", s)
	}
	return nil
}

// Allowed is [ErrNotAllowed] for a host that the client's owner did not allow it
// to contact as a registry.
func (c *Client) Allowed(host string) error {
	host = CanonicalHost(host)
	allows := func(pattern string) bool {
		match, err := path.Match(pattern, host)
		return CanonicalHost(pattern) == host || err == nil && match
	}
	if len(c.opts.AllowHosts) > 0 && !slices.ContainsFunc(c.opts.AllowHosts, allows) {
		return fmt.Errorf("%s: %w", host, ErrNotAllowed)
	}
	return nil
}
