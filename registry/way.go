package registry

import (
	"crypto/tls"
	"net/http"
	"net/url"
	"slices"
)

// A way is the wire to one endpoint: with the certificates, headers and proxy that
// are configured of it, for its own host alone. Where it sends us to, we come as
// anybody would, but for the authorities: a token server beside it has its
// certificate from the same ones. A nil way is that of no endpoint.
type way struct {
	wire   *wire
	host   string
	plain  bool // it was named with http://
	header http.Header
	own    *lines // nil: nothing is configured
	others *lines // the same
}

func (w *wire) way(host string, config endpointConfig) (*way, error) {
	v := &way{wire: w, host: host, plain: config.scheme == "http", header: config.header}
	// They are given for a host by whatever path it is reached.
	given := w.opts.Certificates[CanonicalHost(host)]
	if !config.ownTLS() && len(given) == 0 && config.dialTimeout == 0 && config.proxy == nil {
		return v, nil
	}
	trust := &tls.Config{RootCAs: w.opts.RootCAs, InsecureSkipVerify: config.skipVerify || w.isInsecure(host)}
	if len(config.authorities) > 0 {
		pool, err := authoritiesWith(w.opts.RootCAs, config.authorities)
		if err != nil {
			return nil, err
		}
		trust.RootCAs = pool
		v.others = w.linesOf(&tls.Config{RootCAs: pool}, endpointConfig{})
	}
	trust.Certificates = slices.Clone(given)
	for _, pair := range config.pairs {
		certificate, err := LoadCertificate(pair[0], pair[1])
		if err != nil {
			return nil, err
		}
		trust.Certificates = append(trust.Certificates, certificate)
	}
	v.own = w.linesOf(trust, config)
	return v, nil
}

func (v *way) RoundTrip(req *http.Request) (*http.Response, error) { return v.wire.send(req, v) }

// isPlain says whether an address without TLS is what the endpoint was configured
// with. The file is the administrator's, whose word --insecure is too.
func (v *way) isPlain(u *url.URL) bool { return v != nil && v.plain && u.Host == v.host }

// linesTo returns those that are configured for a host, or nil.
func (v *way) linesTo(host string, insecure bool) *lines {
	switch {
	case v == nil:
		return nil
	case host == v.host:
		return v.own
	case insecure:
		return nil
	}
	return v.others
}

// addHeader adds the endpoint's headers to what is sent to it. What a request has
// already stays: who it is made as is decided above.
func (v *way) addHeader(req *http.Request) {
	if v == nil || req.URL.Host != v.host {
		return
	}
	for name, values := range v.header {
		if _, has := req.Header[name]; !has {
			req.Header[name] = values
		}
	}
}
