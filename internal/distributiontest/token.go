package distributiontest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	tokenIssuer  = "distributiontest"
	tokenService = "registry"
	tokenKeyID   = "test"
)

// tokenServer gives whoever knows the password what he asks for (distribution
// spec, "Token Authentication Specification").
type tokenServer struct {
	address string
	config  map[string]any // of a registry that believes it
	key     *ecdsa.PrivateKey
	header  map[string]any // of what it signs
}

// startTokens starts a token server.
func startTokens(t testing.TB, dir string, opts Options) *tokenServer {
	t.Helper()
	s := &tokenServer{header: map[string]any{"typ": "JWT", "alg": "ES256", "kid": tokenKeyID}}
	var err error
	if s.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.address = server.Listener.Addr().String()
	realm := opts.Realm
	if realm == "" {
		// Not by address: clients take one on loopback for an attack.
		realm = strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/token"
	}
	s.config = map[string]any{"realm": realm, "service": tokenService, "issuer": tokenIssuer}
	if opts.Program == "" {
		s.config["jwks"] = s.writeKeys(t, dir)
	} else {
		s.config["rootcertbundle"] = s.writeCertificate(t, dir)
	}
	return s
}

// writeKeys writes the key as version 3 reads it (RFC 7517).
func (s *tokenServer) writeKeys(t testing.TB, dir string) (path string) {
	t.Helper()
	public, err := s.key.PublicKey.Bytes() // 4, x, y
	if err != nil {
		t.Fatal(err)
	}
	jwks, err := json.Marshal(map[string]any{"keys": []map[string]string{{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": tokenKeyID,
		"x": base64.RawURLEncoding.EncodeToString(public[1:33]),
		"y": base64.RawURLEncoding.EncodeToString(public[33:]),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(path, jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// writeCertificate writes a certificate of the key, which version 2 wants in each
// token too.
func (s *tokenServer) writeCertificate(t testing.TB, dir string) (path string) {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: tokenIssuer}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, s.key.Public(), s.key)
	if err != nil {
		t.Fatal(err)
	}
	s.header["x5c"] = []string{base64.StdEncoding.EncodeToString(der)}
	path = filepath.Join(dir, "tokens.pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	username, password, ok := r.BasicAuth()
	if !ok || username != Username || password != Password {
		http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}`, http.StatusUnauthorized)
		return
	}
	token, err := s.sign(access(r.URL.Query()["scope"]))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300}) // the client left
}

// access is what scopes ask for: "repository:<name>:<action>,<action>".
func access(scopes []string) []map[string]any {
	granted := []map[string]any{}
	for _, scope := range scopes {
		if parts := strings.SplitN(scope, ":", 3); len(parts) == 3 {
			granted = append(granted, map[string]any{
				"type": parts[0], "name": parts[1], "actions": strings.Split(parts[2], ","),
			})
		}
	}
	return granted
}

// sign makes a JSON Web Token (RFC 7519) of ES256.
func (s *tokenServer) sign(access []map[string]any) (string, error) {
	now := time.Now()
	text := ""
	for _, part := range []map[string]any{
		s.header,
		{
			"iss": tokenIssuer, "sub": Username, "aud": tokenService, "jti": rand.Text(),
			"iat": now.Unix(), "nbf": now.Unix() - 60, "exp": now.Unix() + 300, "access": access,
		},
	} {
		b, err := json.Marshal(part)
		if err != nil {
			return "", err
		}
		text += base64.RawURLEncoding.EncodeToString(b) + "."
	}
	text = strings.TrimSuffix(text, ".")
	digest := sha256.Sum256([]byte(text))
	a, b, err := ecdsa.Sign(rand.Reader, s.key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	a.FillBytes(signature[:32])
	b.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
