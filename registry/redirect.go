package registry

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
)

// maxRedirects is how many a request follows; real registries need one or two.
// It is below what an http.Client follows, so that ours is the error.
const maxRedirects = 5

// checkRedirect refuses a request that a redirect made, where it leads where a
// registry has no business to send anyone. It asks for the names alone: a name
// that resolves to an address inside would still need a certificate for it,
// since plain HTTP is refused to all but those named.
func checkRedirect(req *http.Request) error {
	n, first := redirects(req)
	switch {
	case n == 0:
		return nil
	case n > maxRedirects:
		return fmt.Errorf("%w: more than %d of them", ErrRedirect, maxRedirects)
	case first.Scheme == "https" && req.URL.Scheme != "https":
		return fmt.Errorf("%w: from TLS to %s://%s", ErrRedirect, req.URL.Scheme, req.URL.Host)
	case leadsInside(first, req.URL):
		return fmt.Errorf("%w: from %s to %s, an address of this machine or link", ErrRedirect, first.Host, req.URL.Host)
	}
	return nil
}

// redirects is how many redirects made a request, and where the first began.
func redirects(req *http.Request) (n int, first *url.URL) {
	for req.Response != nil {
		req = req.Response.Request
		n++
	}
	return n, req.URL
}

// leadsInside says whether to is an address of this machine or its link, and
// from, another host, is none.
func leadsInside(from, to *url.URL) bool {
	return from.Host != to.Host && !isLoopback(from.Hostname()) && isInternal(to.Hostname())
}

// isLoopback says whether a host, without its port, is this machine by its very
// name.
func isLoopback(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}

// isInternal says whether a host is an address that a public registry has no
// business to send anyone to, such as a cloud's metadata service.
func isInternal(host string) bool {
	if isLoopback(host) {
		return true
	}
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	ip = ip.Unmap()
	return ip.IsLinkLocalUnicast() || ip.IsUnspecified() || ip.IsMulticast()
}

// isPrivate says whether a host is an address that means something in a local
// network only.
func isPrivate(host string) bool {
	ip, err := netip.ParseAddr(host)
	return isLoopback(host) || err == nil && ip.Unmap().IsPrivate()
}
