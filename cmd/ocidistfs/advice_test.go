package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

func TestAdvice(t *testing.T) {
	answered := func(status int) error {
		return &registry.Error{Op: "get manifest", Ref: "reg.example.com:5000/a:1", Status: status, Err: errors.New("said")}
	}
	failed := func(err error) error {
		return fmt.Errorf("pull: %w", &registry.Error{Op: "contact", Ref: "reg.example.com:5000", Err: err})
	}
	for name, c := range map[string]struct {
		err  error
		want string
	}{
		"no such host":     {failed(&net.DNSError{Name: "reg.example.com", IsNotFound: true}), "a host called reg.example.com"},
		"a resolver fails": {failed(&net.DNSError{Name: "reg.example.com", IsTimeout: true}), "it does not answer"},
		"refused":          {failed(os.NewSyscallError("connect", syscall.ECONNREFUSED)), "nobody listens there"},
		"no route":         {failed(os.NewSyscallError("connect", syscall.ENETUNREACH)), "no way leads there"},
		"a proxy":          {failed(&net.OpError{Op: "proxyconnect", Err: syscall.ECONNREFUSED}), "the proxy is from --proxy"},
		"an authority":     {failed(x509.UnknownAuthorityError{}), "--insecure reg.example.com:5000 takes"},
		"plain HTTP":       {failed(http.ErrSchemeMismatch), "--insecure reg.example.com:5000 allows"},
		"silence":          {failed(registry.ErrStalled), "it does not answer"},
		"a deadline":       {failed(context.DeadlineExceeded), "it does not answer"},
		"too many":         {answered(429), "docker login reg.example.com:5000"},
		"a failure":        {answered(502), "reg.example.com:5000 failed"},
		"not found":        {answered(404), ""},
		"offline":          {fmt.Errorf("pull: %w", tree.ErrOffline), "without --offline"},
		"an artifact":      {fmt.Errorf("pull: %w", tree.ErrNotImage), "in layers/"},
		"anything else":    {errors.New("anything"), ""},
	} {
		got := advice(c.err)
		if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if want := c.err.Error(); !strings.HasPrefix(explain(c.err), want) || strings.Count(explain(c.err), "\n") > 1 {
			t.Errorf("%s: %q", name, explain(c.err))
		}
	}
	if got := explain(fmt.Errorf("mount: %w", advised{failed(registry.ErrStalled), "do this"})); !strings.HasSuffix(got, "\n  do this") {
		t.Errorf("advice of its own: %q", got)
	}
}

func TestNearest(t *testing.T) {
	tags := []string{"latest", "edge", "3", "3.1", "3.10", "3.10.2", "3.11", "3.9", "20240101", "v3.10"}
	for tag, want := range map[string][]string{
		"3.1O":    {"3.1", "3.10", "3.11", "3.9", "v3.10"},
		"v3.1":    {"v3.10", "3.1", "3.9", "3.10", "3.11"},
		"lates":   {"latest"},
		"Latest":  {"latest"},
		"latesd":  {"latest"},
		"3.10.":   {"3.10.2", "3.10", "3.1", "3.11", "v3.10"},
		"stable":  nil,
		"x":       nil,
		"2024010": {"20240101"},
	} {
		if got := nearest(tag, tags); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", tag, got, want)
		}
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"a", "", 1}, {"", "abc", 3}, {"same", "same", 0},
		{"saturday", "sunday", 3}, {"3.1O", "3.10", 1}, {"ab", "ba", 2},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.a, c.b, got, c.want)
		}
		if got := distance(c.b, c.a); got != c.want {
			t.Errorf("%q, %q: %d, want %d", c.b, c.a, got, c.want)
		}
	}
}
