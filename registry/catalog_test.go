package registry

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

func catalogOf(t testing.TB, c *Client, host string) (names []string, err error) {
	t.Helper()
	for name, e := range c.Catalog(t.Context(), host) {
		if err != nil {
			t.Fatalf("%q, %v after an error", name, e)
		}
		if e != nil {
			err = e
			continue
		}
		names = append(names, name)
	}
	return names, err
}

// The token for a catalog is another than those for repositories, and is used again.
func TestCatalog(t *testing.T) {
	for name, c := range map[string]struct {
		opts     registrytest.Options
		requests int // for two lists of three names
	}{
		"open":     {registrytest.Options{}, 1 + 2},
		"by pages": {registrytest.Options{PageSize: 2}, 1 + 4},
		"a token":  {registrytest.Options{Bearer: true, PageSize: 2}, 2 + 4},
		"a login":  {registrytest.Options{Username: "u", Password: "p", Bearer: true}, 2 + 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, c.opts)
			want := []string{"a", "a/b", "c"}
			for _, name := range want {
				s.PutManifest(name, "1", imageType, []byte("{}"))
			}
			client := clientOf(t, Options{Keychain: BoundCredentials(s.Host(), "u", "p", Anonymous())})
			for range 2 {
				if got, err := catalogOf(t, client, s.Host()); err != nil || !slices.Equal(got, want) {
					t.Errorf("%q, %v", got, err)
				}
			}
			if s.Count() != c.requests {
				t.Errorf("asked for %s", asked(s))
			}
		})
	}
}

// errDenied is any 401 or 403.
var errDenied = iofs.ErrPermission

func TestCatalogAnswers(t *testing.T) {
	said := func(link string, body string) registrytest.Fault {
		return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			if link != "" {
				w.Header().Set("Link", "<"+link+`>; rel="next"`)
			}
			typed("application/json", body)(w, r, req, next)
		}
	}
	long := strings.Repeat("a", MaxName)
	for name, c := range map[string]struct {
		fault registrytest.Fault
		want  string
		err   error
	}{
		"none":             {said("", `{"repositories":[]}`), "", nil},
		"null":             {said("", `{"repositories":null}`), "", nil},
		"names of none":    {said("", `{"repositories":["x","","../y",".git","A","a:1","a/../b","/a","a/","c\u0000","`+long+`","x@sha256:`+strings.Repeat("0", 64)+`","ok/x"]}`), "x ok/x", nil},
		"no list":          {said("", `{"name":"a"}`), "", ErrProtocol},
		"other types":      {said("", `{"repositories":[1]}`), "", ErrProtocol},
		"another type":     {said("", `{"repositories":{"a":1}}`), "", ErrProtocol},
		"a page":           {html, "", ErrProtocol},
		"cut JSON":         {said("", `{"repositories":["x"`), "", ErrProtocol},
		"names of nothing": {said("", `{"repositories":[`+strings.Repeat("null,", maxNames+1)+`null]}`), "", ErrTooLarge},
		"too large":        {said("", `{"repositories":["`+strings.Repeat("x", maxPage)+`"]}`), "", ErrTooLarge},
		"same page again":  {said("/v2/_catalog?n=1000", `{"repositories":["x"]}`), "x", ErrProtocol},
		"another host":     {said("http://example.com/v2/_catalog", `{"repositories":["x"]}`), "", ErrRedirect},
		"unknown":          {registrytest.Refuse(404, "NOT_FOUND", ""), "", iofs.ErrNotExist},
		"denied":           {registrytest.Refuse(403, "DENIED", ""), "", errDenied},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.Break(registrytest.Only(registrytest.Catalog, c.fault))
			names, err := catalogOf(t, clientOf(t, Options{Retries: -1}), s.Host())
			if got := strings.Join(names, " "); got != c.want {
				t.Errorf("names %q", got)
			}
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("%v", err)
			}
		})
	}
}

// Nobody else is asked: a mirror has what it mirrors of all.
func TestCatalogIsTheRegistrysOwn(t *testing.T) {
	origin, m := startWithTag(t), registrytest.Start(t, registrytest.Options{})
	m.PutManifest("of/another", "x", imageType, []byte("{}"))
	c := clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL())))
	if got, err := catalogOf(t, c, origin.Host()); err != nil || !slices.Equal(got, []string{"a"}) || m.Count() > 0 {
		t.Errorf("%q, %v, after %d requests to the mirror", got, err, m.Count())
	}
	for name, opts := range map[string]Options{
		"not allowed": {AllowHosts: []string{"registry.example.com"}},
		"for blobs":   mirroredBy(t, origin.Host(), fmt.Sprintf("server = %q", origin.URL()), `capabilities = ["pull"]`),
	} {
		origin.Forget()
		if got, err := catalogOf(t, clientOf(t, opts), origin.Host()); err == nil || origin.Count() > 0 {
			t.Errorf("%s: %q, %v, after %d requests", name, got, err, origin.Count())
		}
	}
}
