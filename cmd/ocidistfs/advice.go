package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	iofs "io/fs"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/docker/cli/cli/config"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// advised is an error with a way out that its text does not tell.
type advised struct {
	error
	advice string
}

func (a advised) Unwrap() error { return a.error }

// explain is an error as a person is shown it: what happened, and on a line of
// its own what can be done, where anything is known to help.
func explain(err error) string {
	way := advice(err)
	var a advised
	if errors.As(err, &a) {
		way = a.advice
	}
	if way == "" {
		return legibleLines(err.Error())
	}
	return legibleLines(err.Error() + "\n  " + way)
}

// advice is what can be done about an error, whatever command met it.
func advice(err error) string {
	var answered *registry.Error
	host := "the host"
	if errors.As(err, &answered) {
		host, _, _ = strings.Cut(answered.Ref, "/")
	} else {
		answered = &registry.Error{}
	}
	var dns *net.DNSError
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.As(err, &op) && op.Op == "proxyconnect":
		return "the proxy is from --proxy, or from HTTPS_PROXY and the like: check it, and that it runs"
	case errors.As(err, &dns) && dns.IsNotFound:
		return fmt.Sprintf("nothing is known of a host called %s: check its spelling, and the network; --proxy leads through a proxy", dns.Name)
	case isUntrusted(err):
		return fmt.Sprintf("--ca-cert FILE trusts an authority of your own; --insecure %s takes any certificate from that host", host)
	case errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Sprintf("it speaks plain HTTP: --insecure %s allows that", host)
	case answered.Status == http.StatusTooManyRequests:
		return fmt.Sprintf("wait a while; many registries allow more to whom they know: docker login %s", host)
	case answered.Status >= http.StatusInternalServerError:
		return fmt.Sprintf("%s failed, not this program: try again later", host)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nobody listens there: check the host and its port"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "no way leads there: check the network; --proxy leads through a proxy"
	case errors.Is(err, tree.ErrOffline):
		return "without --offline it is fetched"
	case errors.Is(err, tree.ErrNoPlatform):
		return "--platform chooses another"
	case errors.Is(err, tree.ErrNotImage):
		return "the files of an artifact are in layers/ of its directory: ocidistfs ls HOST/REPOSITORY/tags/TAG/layers"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "it does not answer: try again; --proxy leads through a proxy where the network needs one"
	}
	return ""
}

// isUntrusted says whether a certificate was refused.
func isUntrusted(err error) bool {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	return errors.As(err, &verification) || errors.As(err, &authority)
}

// advise adds what is known about a reference to an error about it. It may ask
// the registry for tags.
func (c *connection) advise(ctx context.Context, repo *registry.Repository, ref registry.Reference, err error) error {
	var answered *registry.Error
	switch {
	case !errors.As(err, &answered) || errors.Is(err, tree.ErrNoPlatform):
		return err
	case answered.Is(iofs.ErrPermission):
		return advised{err, c.tried(repo)}
	case !answered.Is(iofs.ErrNotExist):
		return err
	case ref.Digest != (registry.Digest{}):
		return advised{err, "nothing with this digest is there; it may have been deleted"}
	case ref.Tag == "":
		return advised{err, fmt.Sprintf("%s has no such repository, or does not show it without a login", repo.Host())}
	}
	return advised{err, nearTags(ctx, repo, ref.Tag)}
}

// tried says which credentials were of no use, never what they are.
func (c *connection) tried(repo *registry.Repository) string {
	host := repo.Host()
	var with string
	switch source := repo.CredentialSource(); {
	case source == registry.Given:
		with = "asked with --username: check it and its password"
	case source == registry.Docker:
		with = fmt.Sprintf("asked with what docker is configured with (%s): docker login %s renews it", filepath.Join(config.Dir(), config.ConfigFileName), host)
	case source == registry.Podman:
		with = fmt.Sprintf("asked with what podman is logged in with: podman login %s renews it", host)
	case c.Anonymous:
		with = "asked without credentials, as --anonymous says"
	case repo.CredentialFailure() != nil:
		with = fmt.Sprintf("asked without credentials, since those that are configured cannot be had: %v", repo.CredentialFailure())
	default:
		with = fmt.Sprintf("asked without credentials, none are configured for it: docker login %s, or --username and --password-stdin", host)
	}
	return with + "; what does not exist may look the same"
}
