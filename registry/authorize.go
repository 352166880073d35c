package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

// authorized sends credentials with what goes to one registry, and with nothing
// else: neither a redirect nor a link to a next page leads them away.
type authorized struct {
	inner  http.RoundTripper
	base   *url.URL // scheme and host of the registry
	header string   // of Authorization; "" is none
}

func (a *authorized) RoundTrip(req *http.Request) (*http.Response, error) {
	if a.header != "" && req.URL.Scheme == a.base.Scheme && req.URL.Host == a.base.Host {
		req = req.Clone(req.Context())
		req.Header.Set("Authorization", a.header)
	}
	return a.inner.RoundTrip(req)
}

// authorize returns what goes into Authorization, and whether that is a token
// that was asked for and will expire.
//
// The token is asked for by go-containerregistry; what it makes of tokens
// afterwards is not used: it forgets the scope, and asks as often as there are
// requests under way.
func (l *lane) authorize(ctx context.Context, challenge *transport.Challenge) (header string, expires bool, err error) {
	config, source, failure := l.client.credentials(ctx, l.parsed)
	l.used.Store(&credentialsUsed{source, failure})
	if config.RegistryToken != "" {
		// It is for the registry, never for a token server.
		return "Bearer " + config.RegistryToken, false, nil
	}
	if !strings.EqualFold(challenge.Scheme, "bearer") {
		return basic(config), false, nil
	}
	at, err := l.tokenServer(challenge)
	if err != nil {
		return "", false, err
	}
	scope := l.parsed.Scope(transport.PullScope)
	ctx = context.WithValue(ctx, forScope{}, scope)
	token, err := transport.Exchange(ctx, at, authn.FromConfig(config), noting{l.brief}, []string{scope}, challenge)
	if err != nil {
		return "", false, tokenError(err)
	}
	if token.AccessToken != "" { // the name that OAuth has for it
		return "Bearer " + token.AccessToken, true, nil
	}
	return "Bearer " + token.Token, true, nil
}

// basic is basic authentication (RFC 7617), or "" without a user.
func basic(config authn.AuthConfig) string {
	switch {
	case config.Username != "" && config.Password != "":
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(config.Username+":"+config.Password))
	case config.Auth != "":
		return "Basic " + config.Auth
	}
	return ""
}

// tokenServer returns the registry to exchange tokens for. go-containerregistry
// refuses a token server on a private address that is not the registry's own;
// for a registry that is on such an address itself, the one beside it is no
// stranger.
func (l *lane) tokenServer(challenge *transport.Challenge) (name.Registry, error) {
	registry := &url.URL{Host: l.host}
	realm, err := url.Parse(challenge.Parameters["realm"])
	if err != nil || realm.Host == "" {
		return l.registry, fmt.Errorf("%w: the challenge names no token server", ErrProtocol)
	}
	if leadsInside(registry, realm) {
		return l.registry, fmt.Errorf("%w: to a token server on %s, an address of this machine or link", ErrRedirect, realm.Host)
	}
	if !isPrivate(registry.Hostname()) {
		return l.registry, nil
	}
	return name.NewRegistry(realm.Host)
}

// tokenError is an error of an exchange without the answer that it may quote,
// which can hold what is worth a password.
func tokenError(err error) error {
	var answered *transport.Error
	var sent *url.Error
	if errors.As(err, &answered) || errors.As(err, &sent) {
		return err
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%w: token server: %s", ErrProtocol, said("", line))
}
