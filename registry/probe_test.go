package registry

import (
	"errors"
	iofs "io/fs"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestProbe asks registries to be let in, and for nothing else.
func TestProbe(t *testing.T) {
	locked := registrytest.Options{Username: "alice", Password: "secret"}
	tokens := locked
	tokens.Bearer = true
	for name, c := range map[string]struct {
		opts     registrytest.Options
		password string // "" is none
		scheme   string
		refused  bool
	}{
		"open":                     {registrytest.Options{}, "", "", false},
		"open, with a password":    {registrytest.Options{}, "secret", "", false},
		"basic, without":           {locked, "", "basic", true},
		"basic, wrong":             {locked, "guess", "basic", true},
		"basic, right":             {locked, "secret", "basic", false},
		"bearer, without":          {tokens, "", "bearer", true},
		"bearer, wrong":            {tokens, "guess", "bearer", true},
		"bearer, right":            {tokens, "secret", "bearer", false},
		"tokens for all who asked": {registrytest.Options{Bearer: true}, "", "bearer", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, c.opts)
			keys, source := Anonymous(), Source("")
			if c.password != "" {
				keys, source = BoundCredentials(s.Host(), "alice", c.password, authn.DefaultKeychain), Given
			}
			client := NewClient(Options{Keychain: keys})
			t.Cleanup(client.Close)
			p, err := client.Probe(t.Context(), s.Host())
			if errors.Is(err, iofs.ErrPermission) != c.refused || !c.refused && err != nil {
				t.Errorf("error %v; want one of permission: %t", err, c.refused)
			}
			if err != nil && strings.Contains(err.Error(), "guess") {
				t.Errorf("the error shows a password: %v", err)
			}
			if p.Base != s.URL() || p.Scheme != c.scheme || p.Source != source || p.Failure != nil {
				t.Errorf("%+v", p)
			}
			if c.scheme == "bearer" && p.TokenServer != s.Host() {
				t.Errorf("the token server is %q", p.TokenServer)
			}
			if n := s.Count(); n != s.Count(registrytest.Ping, registrytest.Token) {
				t.Errorf("other requests: %+v", s.Requests())
			}
		})
	}
}

func TestEndpoint(t *testing.T) {
	proxy := &url.URL{Scheme: "http", Host: "proxy.example:3128"}
	client := NewClient(Options{Insecure: []string{"lab.example:5000"}, CustomClient: true})
	proxied := NewClient(Options{Proxy: proxy})
	t.Cleanup(client.Close)
	t.Cleanup(proxied.Close)
	for _, c := range []struct {
		client *Client
		host   string
		want   Endpoint
	}{
		{client, "reg.example.com", Endpoint{Address: "reg.example.com:443"}},
		{client, "docker.io", Endpoint{Address: "index.docker.io:443"}},
		{client, "[::1]:5000", Endpoint{Address: "[::1]:5000", MayBePlain: true}},
		{client, "localhost", Endpoint{Address: "localhost:443", MayBePlain: true}},
		{client, "lab.example:5000", Endpoint{Address: "lab.example:5000", MayBePlain: true, Unverified: true}},
		{client, "lab.example", Endpoint{Address: "lab.example:443"}},
		{proxied, "reg.example.com", Endpoint{Address: "reg.example.com:443", Proxy: proxy}},
	} {
		got, err := c.client.Endpoint(t.Context(), c.host)
		if err != nil || got != c.want {
			t.Errorf("%s: %+v, %v; want %+v", c.host, got, err, c.want)
		}
	}
	if _, err := client.Endpoint(t.Context(), "Not_A_Host"); err == nil {
		t.Error("what is no host has an endpoint")
	}
}
