package registry

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

func TestErrorIs(t *testing.T) {
	for status, want := range map[int]struct{ absent, denied bool }{
		0: {}, 400: {}, 401: {denied: true}, 403: {denied: true}, 404: {absent: true}, 410: {}, 429: {}, 500: {}, 503: {},
	} {
		err := fmt.Errorf("read: %w", &Error{Op: "get", Ref: "a", Status: status, Err: errors.New("x")})
		if errors.Is(err, iofs.ErrNotExist) != want.absent || errors.Is(err, iofs.ErrPermission) != want.denied {
			t.Errorf("%d is absent %t, denied %t", status, !want.absent, !want.denied)
		}
	}
}

func TestErrorText(t *testing.T) {
	for name, c := range map[string]struct {
		status     int
		body, want string
	}{
		"message":        {404, `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}`, "404 Not Found: manifest unknown"},
		"code alone":     {403, `{"errors":[{"code":"DENIED"}]}`, "403 Forbidden: denied"},
		"several":        {400, `{"errors":[{"code":"A"},{"code":"B"},{"code":"C"},{"code":"D"}]}`, "400 Bad Request: a; b; c"},
		"no document":    {502, `<html>Bad Gateway</html>`, "502 Bad Gateway"},
		"nothing":        {500, ``, "500 Internal Server Error"},
		"unknown status": {599, ``, "599"},
		"control codes":  {400, `{"errors":[{"message":"a\u001b[31m\nb\u202ec\ufffd\u0000"}]}`, "400 Bad Request: a[31mbc"},
		"long":           {400, `{"errors":[{"message":"` + strings.Repeat("ä", 1000) + `"}]}`, "400 Bad Request: " + strings.Repeat("ä", 150) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			answer := func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}
			s.Break(registrytest.Only(registrytest.Manifest, answer))
			r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
			_, err := r.Manifest(t.Context(), "x")
			var e *Error
			if !errors.As(err, &e) || e.Status != c.status || e.Op != "get manifest" || e.Ref != s.Host()+"/a:x" {
				t.Fatalf("%#v", err)
			}
			if e.Err.Error() != c.want || err.Error() != "get manifest "+e.Ref+": "+c.want {
				t.Errorf("%q", err)
			}
			if strings.HasPrefix(c.want, "404") {
				return // is told otherwise of a ping
			}
			s.Heal()
			s.Break(registrytest.Only(registrytest.Ping, answer))
			_, err = repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a").Manifest(t.Context(), "x")
			if !errors.As(err, &e) || e.Status != c.status || e.Err.Error() != c.want || e.Ref != s.Host() {
				t.Errorf("of a ping: %v", err)
			}
		})
	}
}

func TestWrapOnce(t *testing.T) {
	inner := &Error{Op: "contact", Ref: "a", Status: 503, Err: errors.New("x")}
	if err := wrap("get", "b", fmt.Errorf("y: %w", inner)); !errors.Is(err, inner) || err.Error() != "y: contact a: x" {
		t.Errorf("%v", err)
	}
	err := wrap("get", "b", &transport.Error{StatusCode: 403})
	if !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("%v", err)
	}
	var timeout interface{ Timeout() bool }
	if err := wrap("get", "b", ErrStalled); !errors.As(err, &timeout) || !timeout.Timeout() || !errors.Is(err, ErrStalled) {
		t.Errorf("%v", err)
	}
}
