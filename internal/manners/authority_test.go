package manners

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// An authority is a private one, and a certificate by it for whatever is on
// loopback here.
type authority struct {
	path              string // of its own certificate, PEM
	trusting          *http.Transport
	certificate, key  string // of the servers, PEM files
	serverCertificate tls.Certificate
}

func newAuthority(t *testing.T, dir string) *authority {
	t.Helper()
	a := &authority{
		path:        filepath.Join(dir, "authority.pem"),
		certificate: filepath.Join(dir, "server.pem"),
		key:         filepath.Join(dir, "server.key"),
	}
	template := func(name string, serial int64) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, BasicConstraintsValid: true,
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		}
	}
	root := template("a test's authority", 1)
	root.IsCA, root.KeyUsage = true, x509.KeyUsageCertSign
	rootKey := newKey(t)
	rootDER := signed(t, root, root, rootKey, rootKey)
	writePEM(t, a.path, "CERTIFICATE", rootDER)
	server := template("a test's server", 2)
	server.KeyUsage, server.ExtKeyUsage = x509.KeyUsageDigitalSignature, []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	server.DNSNames = []string{"localhost"}
	server.IPAddresses = []net.IP{net.ParseIP(here), net.ParseIP(elsewhere)}
	serverKey := newKey(t)
	writePEM(t, a.certificate, "CERTIFICATE", signed(t, server, root, serverKey, rootKey))
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		t.Fatal(err)
	}
	writePEM(t, a.key, "PRIVATE KEY", der)
	if a.serverCertificate, err = tls.LoadX509KeyPair(a.certificate, a.key); err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(rootDER)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	a.trusting = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(a.trusting.CloseIdleConnections)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func signed(t *testing.T, of, by *x509.Certificate, key, signer *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificate(rand.Reader, of, by, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func writePEM(t *testing.T, path, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}
