package registrytest

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// tokenPath is where the server gives tokens, beside the registry.
const tokenPath = "/token"

// authorized says whether a request may pass. A token lets through to the
// repositories that it was asked for.
func (s *Server) authorized(r *http.Request, req *Request) bool {
	if s.opts.Bearer {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		defer s.mu.Unlock()
		scopes, good := s.tokens[token]
		scope := scopeOf(req)
		return ok && good && (scope == "" || slices.Contains(scopes, scope))
	}
	return s.opts.Username == "" || s.credentials(r)
}

func (s *Server) credentials(r *http.Request) bool {
	username, password, ok := r.BasicAuth()
	return ok && username == s.opts.Username && password == s.opts.Password
}

// scopeOf is what a token has to be for that lets a request pass; "" is nothing.
func scopeOf(req *Request) string {
	switch {
	case req.Kind == Catalog:
		return "registry:catalog:*"
	case req.Repository != "":
		return "repository:" + req.Repository + ":pull"
	}
	return ""
}

// challenge says how to authenticate.
func (s *Server) challenge(w http.ResponseWriter, req *Request) {
	challenge := `Basic realm="registrytest"`
	if s.opts.Bearer {
		challenge = fmt.Sprintf(`Bearer realm="%s%s",service="registrytest"`, s.URL(), tokenPath)
		if scope := scopeOf(req); scope != "" {
			challenge += fmt.Sprintf(`,scope="%s"`, scope)
		}
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	field := "token"
	var scopes []string
	switch {
	case r.Method == http.MethodPost && s.opts.IdentityToken == "":
		refuse(w, http.StatusNotFound, "UNSUPPORTED", "no OAuth here")
		return
	case r.Method == http.MethodPost:
		if r.PostFormValue("refresh_token") != s.opts.IdentityToken {
			refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong identity token")
			return
		}
		field, scopes = "access_token", strings.Fields(r.PostFormValue("scope"))
	case s.opts.Username != "" && !s.credentials(r):
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong user name or password")
		return
	default:
		for _, scope := range r.URL.Query()["scope"] {
			scopes = append(scopes, strings.Fields(scope)...)
		}
	}
	s.mu.Lock()
	s.issued++
	token := fmt.Sprintf("token-%d", s.issued)
	s.tokens[token] = scopes
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{field: token, "expires_in": 300}) // the client left
}

// ExpireTokens makes every token that was given worthless.
func (s *Server) ExpireTokens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens)
}

func pemOf(c *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
}
