package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func TestConnectionCheck(t *testing.T) {
	const fine = ""
	for _, c := range []struct {
		name       string
		connection connection
		in         string
		password   string
		want       string // in the error
	}{
		{"what is configured", connection{}, "", "", fine},
		{"anonymous", connection{Anonymous: true}, "", "", fine},
		{"password", connection{Username: "x", Password: "y"}, "", "y", fine},
		{"from input", connection{Username: "x", passwordStdin: true}, "y\n", "y", fine},
		{"no newline", connection{Username: "x", passwordStdin: true}, "y", "y", fine},
		{"from Windows", connection{Username: "x", passwordStdin: true}, "y\r\n", "y", fine},
		{"blanks are part of it", connection{Username: "x", passwordStdin: true}, " y \nz", " y ", fine},
		{"empty input", connection{Username: "x", passwordStdin: true}, "", "", "no password"},
		{"empty line", connection{Username: "x", passwordStdin: true}, "\ny", "", "no password"},
		{"both", connection{Username: "x", Password: "y", passwordStdin: true}, "z", "y", "exclude"},
		{"no password", connection{Username: "x"}, "", "", "--password-stdin"},
		{"no user", connection{Password: "y"}, "", "y", "needs --username"},
		{"anonymous user", connection{Anonymous: true, Username: "x"}, "", "", "exclude"},
		{"anonymous password", connection{Anonymous: true, Password: "y"}, "", "y", "exclude"},
		{"proxy", connection{Proxy: "http://proxy.example:3128"}, "", "", fine},
		{"proxy with a password", connection{Proxy: "https://x:y@proxy.example"}, "", "", fine},
		{"socks", connection{Proxy: "socks5://[::1]:1080"}, "", "", fine},
		{"no scheme", connection{Proxy: "proxy.example:3128"}, "", "", "--proxy"},
		{"no host", connection{Proxy: "http://:3128"}, "", "", "--proxy"},
		{"no time", connection{ReadTimeout: -time.Second}, "", "", "--read-timeout"},
		{"negative", connection{Retries: -1}, "", "", "--retries"},
		{"other scheme", connection{Proxy: "ftp://proxy.example"}, "", "", "--proxy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.connection.ReadTimeout = cmp.Or(c.connection.ReadTimeout, time.Second) // the flag has a default
			err := c.connection.check(t.Context(), strings.NewReader(c.in))
			if c.want == fine && err != nil || c.want != fine && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("error %v, want %q", err, c.want)
			}
			var usage usageError
			if err != nil && !errors.As(err, &usage) {
				t.Errorf("%v is not of usage", err)
			}
			if c.connection.Password != c.password {
				t.Errorf("password %q, want %q", c.connection.Password, c.password)
			}
		})
	}
}

// A signal ends waiting for a password.
func TestReadPasswordInterrupted(t *testing.T) {
	in, out := io.Pipe()
	defer func() { _ = out.Close() }() // the read that is left behind
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := readPassword(ctx, in); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAPI(t *testing.T) {
	for _, c := range []struct {
		connection connection
		want       string
	}{
		{connection{}, "simple API"},
		{connection{Anonymous: true}, "advanced API (authentication)"},
		{connection{Username: "x"}, "advanced API (authentication)"},
		{connection{CustomClient: true}, "advanced API (http.Client)"},
		{connection{Proxy: "http://proxy.example"}, "advanced API (proxy)"},
		{connection{CACert: "ca.pem", Insecure: hosts{"a.example"}, CustomClient: true}, "advanced API (http.Client, insecure hosts, certificate authorities)"},
		{connection{ClientCert: hostFiles{{"", "me.pem"}}, HostsDir: defaultHostsDir}, "advanced API (client certificates)"},
	} {
		if got := c.connection.api(); got != c.want {
			t.Errorf("%+v: %s", c.connection, got)
		}
	}
}
