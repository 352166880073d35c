package registry

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
)

// A Source is where credentials came from; "" is from nowhere.
type Source string

// The sources. Given is whoever made the keychain of [BoundCredentials], or one
// that is not of this package.
const (
	Given  Source = "given"
	Docker Source = "docker"
	Podman Source = "podman"
)

// sourced are credentials that know their source.
type sourced struct {
	authn.Authenticator
	source Source
}

// sourceOf says where the credentials of an authenticator came from.
func sourceOf(auth authn.Authenticator) Source {
	switch auth := auth.(type) {
	case sourced:
		return auth.source
	case *login:
		return Podman
	}
	if auth == authn.Anonymous {
		return ""
	}
	return Given
}

// Anonymous has no credentials for anybody.
func Anonymous() authn.Keychain { return anonymous{} }

type anonymous struct{}

func (anonymous) Resolve(authn.Resource) (authn.Authenticator, error) { return authn.Anonymous, nil }

// BoundCredentials has a user name and password for one host, as in a reference,
// and asks next for all others.
func BoundCredentials(host, username, password string, next authn.Keychain) authn.Keychain {
	return &bound{CanonicalHost(host), authn.FromConfig(authn.AuthConfig{Username: username, Password: password}), next}
}

type bound struct {
	host        string
	credentials authn.Authenticator
	next        authn.Keychain
}

func (b *bound) Resolve(r authn.Resource) (authn.Authenticator, error) {
	if CanonicalHost(r.RegistryStr()) == b.host {
		return b.credentials, nil
	}
	return b.next.Resolve(r)
}

// helperLimit ends a credential helper that waits for somebody to answer it.
const helperLimit = 20 * time.Second

// credentials returns what the keychain has for a repository of a host, and from where. A keychain that
// fails, because a credential helper is missing, broken or stuck, is a warning,
// and the failure is why there are none: what is public can be read all the same.
func (c *Client) credentials(ctx context.Context, of authn.Resource) (config authn.AuthConfig, source Source, failure error) {
	type result struct {
		config *authn.AuthConfig
		source Source
		err    error
	}
	// Keychains heed no context. One that never answers keeps its goroutine.
	resolved := make(chan result, 1)
	go func() {
		var got result
		defer func() {
			if p := recover(); p != nil {
				got = result{err: fmt.Errorf("panic: %v", p)}
			}
			resolved <- got
		}()
		auth, err := authn.Resolve(ctx, c.opts.Keychain, of)
		if err != nil {
			got.err = err
			return
		}
		got.source = sourceOf(auth)
		got.config, got.err = authn.Authorization(ctx, auth)
	}()
	limit := time.NewTimer(helperLimit)
	defer limit.Stop()
	select {
	case got := <-resolved:
		if got.err == nil && got.config != nil {
			return *got.config, got.source, nil
		}
		failure = got.err
	case <-limit.C:
		failure = ErrStalled
	case <-ctx.Done():
		failure = context.Cause(ctx)
	}
	host := CanonicalHost(of.RegistryStr())
	if _, warned := c.warn.LoadOrStore(host, true); !warned {
		c.opts.Logger.Warn("no credentials: the configured source failed; going on without", "host", host, "error", failure)
	}
	return authn.AuthConfig{}, "", failure
}

// DefaultKeychain has what docker and podman are configured with: what podman has
// for a part of a repository's name, else what docker has, else what podman has
// for the host. What keeps docker's from being known, such as a credential helper
// that is missing, does not keep podman's.
func DefaultKeychain() authn.Keychain { return configured{} }

type configured struct{}

func (configured) Resolve(r authn.Resource) (authn.Authenticator, error) {
	login, err := podman(r)
	if login != nil && login.of != CanonicalHost(r.RegistryStr()) {
		return login, nil
	}
	auth, dockerErr := authn.DefaultKeychain.Resolve(r)
	switch {
	case dockerErr != nil && login != nil:
		return login, nil
	case dockerErr != nil:
		return nil, helperError(dockerErr, r)
	case auth != authn.Anonymous && !sameUser(auth, login):
		return sourced{auth, Docker}, nil
	}
	if login != nil {
		return login, nil
	}
	return authn.Anonymous, err
}

// sameUser says whether docker's credentials are podman's: where docker has no
// file, go-containerregistry reads podman's in its place.
func sameUser(auth authn.Authenticator, login *login) bool {
	if login == nil {
		return false
	}
	docker, err := auth.Authorization()
	return err == nil && docker.Username == login.config.Username && docker.Password == login.config.Password
}

// HostOfCredentials is the host that a key of docker's configuration is about,
// such as "https://index.docker.io/v1/"; "" where it is none.
func HostOfCredentials(key string) string {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, _, _ := strings.Cut(key, "/")
	if !ValidHost(host) {
		return ""
	}
	return CanonicalHost(host)
}
