package registry

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// LoadCertificate reads a client certificate and its key, both PEM. No key is one
// in the same file.
func LoadCertificate(certFile, keyFile string) (tls.Certificate, error) {
	certificate, err := os.ReadFile(certFile)
	if err != nil {
		return tls.Certificate{}, err
	}
	key, in := certificate, certFile
	if keyFile != "" {
		if key, err = os.ReadFile(keyFile); err != nil {
			return tls.Certificate{}, err
		}
		in += " and " + keyFile
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("client certificate %s: %w", in, err)
	}
	return pair, nil
}

// authoritiesWith returns a pool of those that are trusted anyway, nil being the
// system's, and those in the files.
func authoritiesWith(pool *x509.CertPool, files []string) (*x509.CertPool, error) {
	if pool != nil {
		pool = pool.Clone()
	} else if system, err := x509.SystemCertPool(); err == nil {
		pool = system
	} else {
		pool = x509.NewCertPool()
	}
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if !pool.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s: no certificate in PEM format", file)
		}
	}
	return pool, nil
}
