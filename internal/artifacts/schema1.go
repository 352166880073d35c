package artifacts

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base32"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Schema1 is an image as Docker pushed them before 1.10: its manifest has no config
// and no sizes, and is signed in place (distribution, "Image Manifest Version 2,
// Schema 1"). Its digest is that of what was signed.
func Schema1() *Fixture {
	b := build("schema1")
	b.fixture.ReadOnly = true
	layer := zipped(file{"etc/os-release", "ID=fixture\n"})
	d := b.blob(string(types.DockerLayer), layer.stored)
	none := b.blob(string(types.DockerLayer), gzip(tarball()))
	type blobSum struct {
		BlobSum string `json:"blobSum"`
	}
	type compatibility struct {
		V1Compatibility string `json:"v1Compatibility"`
	}
	payload, err := json.MarshalIndent(struct {
		SchemaVersion int             `json:"schemaVersion"`
		Name          string          `json:"name"`
		Tag           string          `json:"tag"`
		Architecture  string          `json:"architecture"`
		FSLayers      []blobSum       `json:"fsLayers"`
		History       []compatibility `json:"history"`
	}{
		1, "library/fixture", Tag, "amd64",
		[]blobSum{{none.Digest.String()}, {d.Digest.String()}}, // the last is the lowest
		[]compatibility{
			{`{"architecture":"amd64","config":{"Cmd":["/bin/sh"]},"created":"2016-01-02T03:04:05Z","id":"` + strings.Repeat("2", 64) +
				`","os":"linux","parent":"` + strings.Repeat("1", 64) + `","throwaway":true}`},
			{`{"id":"` + strings.Repeat("1", 64) + `","created":"2016-01-02T03:04:05Z","container_config":{"Cmd":["ADD file in /"]}}`},
		},
	}, "", "   ")
	if err != nil {
		panic(err) // it is made of strings
	}
	named := digestOf(payload)
	b.fixture.Manifests = append(b.fixture.Manifests, Manifest{named, types.DockerManifestSchema1Signed, sign(payload)})
	b.fixture.Digest = named
	b.fixture.Tags = map[string]v1.Hash{Tag: named}
	return b.fixture
}

// signer is a key that is good for nothing else.
func signer() *ecdsa.PrivateKey {
	scalar := sha256.Sum256([]byte("the key of a fixture"))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	if err != nil {
		panic(err) // it is always the same
	}
	return key
}

// sign adds a signature to a JSON object, as libtrust does: before its last lines,
// and with what those were.
func sign(payload []byte) []byte {
	tail := len(bytes.TrimRight(payload, "\n}"))
	protected := encode(fmt.Appendf(nil, `{"formatLength":%d,"formatTail":%q,"time":"2016-01-02T03:04:05Z"}`, tail, encode(payload[tail:])))
	key := signer()
	sum := sha256.Sum256([]byte(protected + "." + encode(payload)))
	der, err := key.Sign(nil, sum[:], crypto.SHA256) // by RFC 6979: the same each time
	if err != nil {
		panic(err) // it is always the same
	}
	var signature struct{ R, S *big.Int }
	if _, err := asn1.Unmarshal(der, &signature); err != nil {
		panic(err)
	}
	both := append(signature.R.FillBytes(make([]byte, 32)), signature.S.FillBytes(make([]byte, 32))...)
	point, err := key.PublicKey.Bytes() // 4, X, Y
	if err != nil {
		panic(err)
	}
	out := append([]byte(nil), payload[:tail]...)
	out = fmt.Appendf(out, `,
   "signatures": [
      {
         "header": {
            "jwk": {
               "crv": "P-256",
               "kid": %q,
               "kty": "EC",
               "x": %q,
               "y": %q
            },
            "alg": "ES256"
         },
         "signature": %q,
         "protected": %q
      }
   ]`, keyID(key), encode(point[1:33]), encode(point[33:]), encode(both), protected)
	return append(out, payload[tail:]...)
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// keyID is libtrust's name for a key: 240 bits of its hash, in groups of four.
func keyID(key *ecdsa.PrivateKey) string {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		panic(err)
	}
	sum := sha256.Sum256(der)
	text := base32.StdEncoding.EncodeToString(sum[:30])
	var groups []string
	for i := 0; i < len(text); i += 4 {
		groups = append(groups, text[i:i+4])
	}
	return strings.Join(groups, ":")
}
