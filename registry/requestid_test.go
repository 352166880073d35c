package registry

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// answering answers with a status and a message, and a header.
func answering(status int, message, header, value string) registrytest.Fault {
	return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		w.Header().Set(header, value)
		registrytest.Refuse(status, "UNKNOWN", message)(w, r, req, next)
	}
}

// An error has by what its request can be found, whether it is of a manifest or of
// a first contact.
func TestRequestID(t *testing.T) {
	for name, c := range map[string]struct{ header, value, want string }{
		"plain":          {"x-request-id", "4b1c-55", " (X-Request-Id 4b1c-55)"},
		"amazon":         {"x-amzn-RequestId", "a/b+c=", " (X-Amzn-Requestid a/b+c=)"},
		"cloudflare":     {"CF-RAY", "8f0d-FRA", " (Cf-Ray 8f0d-FRA)"},
		"another header": {"X-Powered-By", "PHP", ""},
		"long":           {"X-Request-Id", strings.Repeat("x", 1000), " (X-Request-Id " + strings.Repeat("x", maxRequestID) + ")"},
		"other letters":  {"X-Request-Id", "a\tb [31mc ä", " (X-Request-Id ab[31mc)"},
	} {
		for _, kind := range []registrytest.Kind{registrytest.Manifest, registrytest.Ping, registrytest.Token} {
			t.Run(name+" "+string(kind), func(t *testing.T) {
				s := registrytest.Start(t, registrytest.Options{Bearer: true})
				s.Break(registrytest.Only(kind, answering(403, "no", c.header, c.value)))
				_, err := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a").Manifest(t.Context(), "x")
				if statusOf(err) != 403 || !strings.HasSuffix(err.Error(), "403 Forbidden: no"+c.want) {
					t.Errorf("%v", err)
				}
			})
		}
	}
}

// What a registry was told in confidence it may say again; an error does not.
func TestErrorHasNoSecrets(t *testing.T) {
	echo := func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		_, password, _ := r.BasicAuth()
		answering(403, "denied: "+r.Header.Get("Authorization")+" "+password+" "+r.URL.RawQuery+" "+r.URL.Query().Get("signature")+" "+r.PostFormValue("refresh_token"),
			"X-Request-Id", r.Header.Get("Authorization")+r.URL.RawQuery)(w, r, req, next)
	}
	login, identity := authn.AuthConfig{Username: "u", Password: "secret"}, authn.AuthConfig{IdentityToken: "identity/1+"}
	for name, c := range map[string]struct {
		server registrytest.Options
		login  authn.AuthConfig
		by     registrytest.Kind // what says it again
		secret string
	}{
		"password":             {registrytest.Options{Username: "u", Password: "secret"}, login, registrytest.Manifest, "secret"},
		"encoded":              {registrytest.Options{Username: "u", Password: "secret"}, login, registrytest.Manifest, "dTpzZWNyZXQ="},
		"token":                {registrytest.Options{Username: "u", Password: "secret", Bearer: true}, login, registrytest.Manifest, "token-1"},
		"password for a token": {registrytest.Options{Username: "u", Password: "secret", Bearer: true}, login, registrytest.Token, "secret"},
		"encoded for a token":  {registrytest.Options{Username: "u", Password: "secret", Bearer: true}, login, registrytest.Token, "dTpzZWNyZXQ="},
		"identity token":       {registrytest.Options{Bearer: true, IdentityToken: "identity/1+"}, identity, registrytest.Token, "identity"},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, c.server)
			s.Break(registrytest.Only(c.by, echo))
			client := clientOf(t, Options{Keychain: fixed(c.login)})
			_, err := repositoryOf(t, client, s.Host()+"/a").Manifest(t.Context(), "x")
			if statusOf(err) != 403 || strings.Contains(err.Error(), c.secret) || !strings.Contains(err.Error(), "denied") {
				t.Errorf("%v", err)
			}
			if _, err := client.Probe(t.Context(), s.Host()); c.by == registrytest.Token && (err == nil || strings.Contains(err.Error(), c.secret)) {
				t.Errorf("probe: %v", err)
			}
		})
	}
	t.Run("signature", func(t *testing.T) {
		cdn := registrytest.Start(t, registrytest.Options{})
		cdn.Break(echo)
		s := registrytest.Start(t, registrytest.Options{})
		d := s.PutBlob("a", someBytes(10))
		s.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
			http.Redirect(w, r, cdn.URL()+"/blob?"+url.Values{"signature": {"abc/def+ghi=="}, "expires": {"1"}}.Encode(), http.StatusFound)
		}))
		_, _, err := get(t, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a"), d, 0, 10)
		if statusOf(err) != 403 || strings.Contains(err.Error(), "abc") || !strings.Contains(err.Error(), "denied") {
			t.Errorf("%v", err)
		}
	})
}
