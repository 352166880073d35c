package distributiontest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
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

// startTokens starts a token server (distribution spec, "Token Authentication
// Specification") that gives whoever knows the password what he asks for, and
// returns the configuration of a registry that believes it.
func startTokens(t testing.TB, dir string) map[string]any {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.PublicKey.Bytes() // 4, x, y
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
	path := filepath.Join(dir, "jwks.json")
	if err := os.WriteFile(path, jwks, 0o600); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		username, password, ok := r.BasicAuth()
		if !ok || username != Username || password != Password {
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"wrong password"}]}`, http.StatusUnauthorized)
			return
		}
		token, err := sign(key, access(r.URL.Query()["scope"]))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300}) // the client left
	}))
	t.Cleanup(server.Close)
	return map[string]any{
		// Not by address: clients take one on loopback for an attack.
		"realm":   strings.Replace(server.URL, "127.0.0.1", "localhost", 1) + "/token",
		"service": tokenService, "issuer": tokenIssuer, "jwks": path,
	}
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
func sign(key *ecdsa.PrivateKey, access []map[string]any) (string, error) {
	now := time.Now()
	text := ""
	for _, part := range []map[string]any{
		{"typ": "JWT", "alg": "ES256", "kid": tokenKeyID},
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
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		return "", err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}
