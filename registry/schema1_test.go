package registry

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// signedAt puts signatures into a document after its first n bytes, as libtrust
// does with n where the last bracket closes.
func signedAt(payload []byte, n int, between string) []byte {
	header := fmt.Sprintf(`{"formatLength":%d,"formatTail":%q,"time":"2016-01-01T00:00:00Z"}`, n, base64.RawURLEncoding.EncodeToString(payload[n:]))
	signatures := fmt.Sprintf("%s\n   \"signatures\": [\n      {\n         \"header\": {\"alg\":\"ES256\"},\n         \"signature\": \"c2ln\",\n         \"protected\": %q\n      }\n   ]",
		between, base64.RawURLEncoding.EncodeToString([]byte(header)))
	return bytes.Join([][]byte{payload[:n], []byte(signatures), payload[n:]}, nil)
}

func signed(payload []byte) []byte {
	return signedAt(payload, len(payload)-len("\n}"), ",")
}

func TestSchema1(t *testing.T) {
	payload := []byte("{\n   \"schemaVersion\": 1,\n   \"name\": \"a\",\n   \"history\": [{\"v1Compatibility\": \"{}\"}]\n}")
	d := registrytest.DigestOf(payload)
	for _, contentType := range []types.MediaType{types.DockerManifestSchema1Signed, "application/json", types.DockerManifestSchema1Signed + "; charset=utf-8"} {
		s := registrytest.Start(t, registrytest.Options{})
		document := signed(payload)
		s.PutManifestAs("a", d, contentType, document)
		s.Tag("a", "x", d)
		r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
		for _, ref := range []string{"x", d.String()} {
			m, err := r.Manifest(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			if m.Descriptor.Digest != d || m.Descriptor.MediaType != types.DockerManifestSchema1Signed || !bytes.Equal(m.Bytes, document) {
				t.Errorf("%q: %v", contentType, m.Descriptor)
			}
		}
	}
}

// Signatures must not make room for a document under the digest of another.
func TestSchema1Forged(t *testing.T) {
	payload := []byte("{\n   \"schemaVersion\": 2,\n   \"layers\": []\n}")
	end := len(payload) - len("\n}")
	wide := append(bytes.TrimSuffix(bytes.Clone(payload), []byte("}")), strings.Repeat(" ", 20)+"}"...)
	for name, document := range map[string][]byte{
		"member in the space":    append(bytes.TrimSuffix(signedAt(wide, end, ","), []byte(strings.Repeat(" ", 17)+"}")), `,"layers":["x"]  }`...),
		"document of another":    append(bytes.TrimSuffix(signedAt(payload, 1, `"layers":["evil"],`), payload[1:]), '}'),
		"member put in":          signedAt(payload, end, `,"layers":["evil"],`),
		"member put in front":    signedAt(payload, 1, `"layers":["evil"],`),
		"tail is another":        append(bytes.TrimSuffix(signed(payload), []byte("\n}")), ",\"layers\":[]\n}"...),
		"tail is missing":        bytes.TrimSuffix(signed(payload), []byte("\n}")),
		"more after the tail":    append(signed(payload), "{}"...),
		"no signature":           payload,
		"signature of nothing":   []byte(`{"signatures":[{"protected":"e30"}]}`),
		"negative length":        []byte(`{"signatures":[{"protected":"` + base64.RawURLEncoding.EncodeToString([]byte(`{"formatLength":-1,"formatTail":"fQ"}`)) + `"}]}`),
		"length beyond":          []byte(`{"signatures":[{"protected":"` + base64.RawURLEncoding.EncodeToString([]byte(`{"formatLength":9999999,"formatTail":"fQ"}`)) + `"}]}`),
		"payload is no document": signedAt([]byte(`{"a":1`+"\n}"), 2, `":1,`),
		"no base64":              []byte(`{"signatures":[{"protected":"!"}]}`),
		"no JSON":                []byte("x"),
	} {
		if got, err := unsigned(document); err == nil {
			t.Errorf("%s: %s is taken for %s", name, document, got)
		}
	}
	if got, err := unsigned(signed(payload)); err != nil || !bytes.Equal(got, payload) {
		t.Errorf("the right one: %s, %v", got, err)
	}
	if _, err := unsigned([]byte("{}")); !errors.Is(err, errSignature) {
		t.Errorf("%v", err)
	}
}

// What passes says what its payload says, and has signatures besides.
func FuzzSchema1(f *testing.F) {
	f.Add(signed([]byte("{\n   \"schemaVersion\": 1\n}")))
	f.Add(signed([]byte("{\"a\": {}\n}")))
	f.Add(signedAt([]byte("{\"a\":1}"), 1, `"b":2,`))
	f.Add(signedAt([]byte("{\"a\":[1,2]}"), 10, `,`))
	f.Add([]byte(`{"signatures":[{"protected":"e30"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, err := unsigned(b)
		if err != nil {
			return
		}
		var document, paid map[string]json.RawMessage
		if json.Unmarshal(b, &document) != nil || json.Unmarshal(payload, &paid) != nil {
			t.Fatalf("%q is no object, or %q", b, payload)
		}
		delete(document, "signatures")
		delete(paid, "signatures")
		if len(document) != len(paid) {
			t.Fatalf("%q is no %q", b, payload)
		}
		for k, v := range document {
			if !bytes.Equal(paid[k], v) {
				t.Fatalf("%q is no %q", b, payload)
			}
		}
	})
}
