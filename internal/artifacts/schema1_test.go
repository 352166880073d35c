package artifacts

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"testing"
)

// TestSignature checks the signature as whoever pulled such an image did: of what the
// protected header makes of the document.
func TestSignature(t *testing.T) {
	signed := Schema1().Manifests[0].Bytes
	var document struct {
		Signatures []struct{ Signature, Protected string }
	}
	if err := json.Unmarshal(signed, &document); err != nil || len(document.Signatures) != 1 {
		t.Fatalf("%v: %s", err, signed)
	}
	decode := func(s string) []byte {
		t.Helper()
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	var protected struct {
		FormatLength int
		FormatTail   string
	}
	if err := json.Unmarshal(decode(document.Signatures[0].Protected), &protected); err != nil {
		t.Fatal(err)
	}
	payload := append(bytes.Clone(signed[:protected.FormatLength]), decode(protected.FormatTail)...)
	if !json.Valid(payload) {
		t.Errorf("signed is %s", payload)
	}
	if got, want := digestOf(payload), Schema1().Digest; got != want {
		t.Errorf("signed is %s, want %s", got, want)
	}
	sum := sha256.Sum256([]byte(document.Signatures[0].Protected + "." + base64.RawURLEncoding.EncodeToString(payload)))
	both := decode(document.Signatures[0].Signature)
	r, s := new(big.Int).SetBytes(both[:32]), new(big.Int).SetBytes(both[32:])
	if !ecdsa.Verify(&signer().PublicKey, sum[:], r, s) {
		t.Error("the signature is wrong")
	}
}
