package registrytest

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
)

// tokenPath is where the server gives tokens, beside the registry.
const tokenPath = "/token"

// authorized says whether a request may pass.
func (s *Server) authorized(r *http.Request, _ string) bool {
	if s.opts.Bearer {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		defer s.mu.Unlock()
		return ok && s.tokens[token]
	}
	return s.opts.Username == "" || s.credentials(r)
}

func (s *Server) credentials(r *http.Request) bool {
	username, password, ok := r.BasicAuth()
	return ok && username == s.opts.Username && password == s.opts.Password
}

// challenge says how to authenticate.
func (s *Server) challenge(w http.ResponseWriter, repo string) {
	challenge := `Basic realm="registrytest"`
	if s.opts.Bearer {
		challenge = fmt.Sprintf(`Bearer realm="%s%s",service="registrytest"`, s.URL(), tokenPath)
		if repo != "" {
			challenge += fmt.Sprintf(`,scope="repository:%s:pull"`, repo)
		}
	}
	w.Header().Set("WWW-Authenticate", challenge)
	refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "authentication required")
}

func (s *Server) serveToken(w http.ResponseWriter, r *http.Request) {
	if s.opts.Username != "" && !s.credentials(r) {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "wrong user name or password")
		return
	}
	s.mu.Lock()
	s.issued++
	token := fmt.Sprintf("token-%d", s.issued)
	s.tokens[token] = true
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300}) // the client left
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
