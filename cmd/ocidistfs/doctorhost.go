package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	iofs "io/fs"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/ocidistfs/ocidistfs/registry"
)

// hostLimit is how long all that is asked of one registry may take.
const hostLimit = 45 * time.Second

// registries asks the registries that were named to be let in.
func (d *doctor) registries(ctx context.Context) error {
	client, err := d.connection.client(d.hosts[0], slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, host := range d.hosts {
		d.registry(ctx, client, host)
	}
	return nil
}

// registry goes the way of a request: name, connection, TLS, the registry's
// answer, and what it makes of the credentials. It ends where the way does.
func (d *doctor) registry(ctx context.Context, client *registry.Client, host string) {
	ctx, cancel := context.WithTimeout(ctx, hostLimit)
	defer cancel()
	at, err := client.Endpoint(ctx, host)
	if err != nil {
		d.add(failed(host, err))
		return
	}
	if at.Proxy != nil {
		d.add(sound(host, "it is asked through the proxy %s", at.Proxy.Redacted()))
	} else if !d.reach(ctx, host, at) {
		return
	}
	probe, err := client.Probe(ctx, host)
	d.answer(host, probe, err)
}

// reach looks a host up, connects to it and speaks TLS, and says whether there is
// any use in going on.
func (d *doctor) reach(ctx context.Context, host string, at registry.Endpoint) bool {
	name, port, err := net.SplitHostPort(at.Address)
	if err != nil {
		d.add(failed(host, err))
		return false
	}
	if _, err := netip.ParseAddr(name); err != nil {
		addresses, err := net.DefaultResolver.LookupHost(ctx, name)
		if err != nil {
			d.add(failed(host, fmt.Errorf("DNS: %w", err)))
			return false
		}
		d.add(sound(host, "DNS: %s is %s", name, strings.Join(addresses, ", ")))
	}
	conn, err := dialTCP(ctx, at.Address)
	if err != nil {
		if at.MayBePlain && port == "443" { // and may be at the port of HTTP
			return true
		}
		d.add(failed(host, fmt.Errorf("TCP: %w", err)))
		return false
	}
	defer func() { _ = conn.Close() }() // all was said
	d.add(sound(host, "TCP: %s can be connected to", conn.RemoteAddr()))
	return d.handshake(ctx, host, name, at, conn)
}

// handshake speaks TLS over a connection.
func (d *doctor) handshake(ctx context.Context, host, name string, at registry.Endpoint, conn net.Conn) bool {
	roots, err := d.connection.authorities()
	if err != nil {
		d.add(failed(host, err))
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, dialLimit)
	defer cancel()
	secure := tls.Client(conn, &tls.Config{ServerName: name, RootCAs: roots, InsecureSkipVerify: at.Unverified, MinVersion: tls.VersionTLS12})
	err = secure.HandshakeContext(ctx)
	var record tls.RecordHeaderError
	switch {
	case err == nil:
		state := secure.ConnectionState()
		certificate := state.PeerCertificates[0]
		text := fmt.Sprintf("TLS: %s, a certificate until %s", tls.VersionName(state.Version), certificate.NotAfter.Format(time.DateOnly))
		if at.Unverified {
			d.add(note(host, text+", which is not verified", "--insecure says so; --ca-cert FILE would verify it"))
		} else {
			d.add(sound(host, "%s, by %s", text, cmp.Or(certificate.Issuer.CommonName, certificate.Issuer.String())))
		}
		return true
	case errors.As(err, &record) && at.MayBePlain:
		d.add(sound(host, "TLS: it speaks plain HTTP, which is allowed for it"))
		return true
	case errors.As(err, &record):
		d.add(broken(host, "TLS: it speaks something else, plain HTTP perhaps", "--insecure "+host+" allows that"))
	case isUntrusted(err):
		d.add(broken(host, "TLS: "+err.Error(), fmt.Sprintf("--ca-cert FILE trusts an authority of your own; --insecure %s takes any certificate from it", host)))
	default:
		d.add(failed(host, fmt.Errorf("TLS: %w", err)))
	}
	return false
}

// answer says how the registry took the question to be let in.
func (d *doctor) answer(host string, probe registry.Probe, err error) {
	if probe.Base == "" {
		d.add(failed(host, err))
		return
	}
	how := map[string]string{"": "it is open to all", "basic": "it asks for a user name and password", "bearer": "it asks for a token of " + probe.TokenServer}[probe.Scheme]
	if how == "" {
		how = fmt.Sprintf("it asks for authentication by %q", probe.Scheme)
	}
	d.add(sound(host, "/v2/: a registry answers at %s; %s", probe.Base, how))
	if probe.Failure != nil {
		d.add(broken(host, "the credentials that are configured for it cannot be had: "+probe.Failure.Error(), "it is asked without; what is private cannot be read"))
	}
	with := map[registry.Source]string{
		registry.Given: "with --username", registry.Docker: "with what docker is logged in with", registry.Podman: "with what podman is logged in with",
	}[probe.Source]
	switch {
	case probe.Scheme == "":
	case err == nil && with == "":
		d.add(sound(host, "authentication: it lets in who has no credentials"))
	case err == nil:
		d.add(sound(host, "authentication: it lets in, %s", with))
	case with == "" && errors.Is(err, iofs.ErrPermission):
		d.add(note(host, "authentication: it does not let in without credentials, and none are configured for it; single repositories may be open",
			fmt.Sprintf("docker login %s, or --username and --password-stdin", host)))
	case errors.Is(err, iofs.ErrPermission):
		d.add(broken(host, fmt.Sprintf("authentication: refused %s: %v", with, err), fmt.Sprintf("docker login %s (or podman login) renews it", host)))
	default:
		d.add(failed(host, fmt.Errorf("authentication: %w", err)))
	}
}
