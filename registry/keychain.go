package registry

import (
	"context"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
)

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

// credentials returns what the keychain has for a repository. A keychain that
// fails, because a credential helper is missing or broken, is a warning: what
// is public can be read all the same.
func (c *Client) credentials(ctx context.Context, r *Repository) authn.Authenticator {
	auth, err := authn.Resolve(ctx, c.opts.Keychain, r.parsed)
	if err == nil {
		// Helpers run when the authenticator is first asked, not before.
		_, err = authn.Authorization(ctx, auth)
	}
	if err == nil {
		return auth
	}
	if _, warned := c.warn.LoadOrStore(r.host.name, true); !warned {
		c.opts.Logger.Warn("no credentials: the configured source failed; going on without", "host", r.host.name, "error", err)
	}
	return authn.Anonymous
}

// DefaultKeychain has what docker and podman are configured with.
func DefaultKeychain() authn.Keychain { return authn.DefaultKeychain }

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
