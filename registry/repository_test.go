package registry

import (
	"bytes"
	"context"
	"errors"
	"io"
	iofs "io/fs"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

func TestManifest(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	oci := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{10}})
	docker := registrytest.Image(t, registrytest.ImageSpec{Layers: []int64{10}, Docker: true})
	want := map[string]Descriptor{
		"oci":         {MediaType: types.OCIManifestSchema1, Digest: s.Push(t, "a", "oci", oci)},
		"docker":      {MediaType: types.DockerManifestSchema2, Digest: s.Push(t, "a", "docker", docker)},
		"index":       {MediaType: types.OCIImageIndex, Digest: s.PushIndex(t, "a", "index", registrytest.Index(t, oci))},
		"docker-list": {MediaType: types.DockerManifestList, Digest: s.PushIndex(t, "a", "docker-list", registrytest.Index(t, docker))},
		"odd":         {MediaType: "application/x-odd", Digest: s.PutManifest("a", "odd", "application/x-odd", []byte(" { \"indented\":\toddly } \n"))},
	}
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
	for tag, w := range want {
		for _, ref := range []string{tag, w.Digest.String()} {
			m, err := r.Manifest(t.Context(), ref)
			if err != nil {
				t.Fatal(err)
			}
			if d := m.Descriptor; d.Digest != w.Digest || d.MediaType != w.MediaType || d.Size != int64(len(m.Bytes)) || registrytest.DigestOf(m.Bytes) != w.Digest {
				t.Errorf("%s is %v, want %v", ref, d, w)
			}
			s.Forget()
			d, err := r.Resolve(t.Context(), ref)
			if err != nil || d.Digest != w.Digest || d.MediaType != w.MediaType || d.Size != m.Descriptor.Size {
				t.Errorf("%s resolves to %v, %v", ref, d, err)
			}
			if log := asked(s); log != "HEAD manifest" {
				t.Errorf("asked for %s", log)
			}
		}
	}
	s.Forget()
	for _, ref := range []string{"", ".", "..", "../../b/manifests/x", "x?y", "x#y", "x/y", "sha256:abc", "@" + someDigest, "%2e"} {
		if _, err := r.Manifest(t.Context(), ref); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("manifest %q: %v", ref, err)
		}
		if _, err := r.Resolve(t.Context(), ref); !errors.Is(err, iofs.ErrNotExist) {
			t.Errorf("resolve %q: %v", ref, err)
		}
	}
	if s.Count() != 0 {
		t.Errorf("asked for %s", asked(s))
	}
}

func TestManifestAnswers(t *testing.T) {
	content := []byte(`{"schemaVersion":2}`)
	d := registrytest.DigestOf(content)
	long := strings.Repeat(" ", maxManifest+1)
	chunked := func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, long)
	}
	for name, c := range map[string]struct {
		fault registrytest.Fault
		ref   string
		err   error
	}{
		"right":                    {nil, d.String(), nil},
		"flipped":                  {registrytest.FlipAt(3), d.String(), ErrMismatch},
		"other bytes":              {says("{}"), d.String(), ErrMismatch},
		"other bytes as schema 1":  {typed(string(types.DockerManifestSchema1Signed), "{}"), d.String(), ErrProtocol},
		"cut":                      {registrytest.CutAfter(5), d.String(), io.ErrUnexpectedEOF},
		"cut, by tag":              {registrytest.CutAfter(5), "x", io.ErrUnexpectedEOF},
		"too large":                {says(long), "x", ErrTooLarge},
		"too large, of no size":    {chunked, "x", ErrTooLarge},
		"unknown":                  {nil, "y", iofs.ErrNotExist},
		"denied":                   {registrytest.Refuse(403, "DENIED", ""), "x", iofs.ErrPermission},
		"unauthorized":             {registrytest.Refuse(401, "UNAUTHORIZED", ""), "x", iofs.ErrPermission},
		"not modified":             {registrytest.Refuse(304, "", ""), "x", errAny},
		"too many requests":        {registrytest.Refuse(429, "TOOMANYREQUESTS", ""), "x", errAny},
		"unavailable":              {registrytest.Refuse(503, "UNAVAILABLE", ""), "x", errAny},
		"no content":               {registrytest.Refuse(204, "", ""), "x", errAny},
		"drops before the headers": {registrytest.CutAfter(0), "x", errAny},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.PutManifest("a", "x", types.OCIManifestSchema1, content)
			if c.fault != nil {
				s.Break(registrytest.Only(registrytest.Manifest, c.fault))
			}
			m, err := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a").Manifest(t.Context(), c.ref)
			if c.err == nil {
				if err != nil || !bytes.Equal(m.Bytes, content) {
					t.Errorf("%v", err)
				}
				return
			}
			if err == nil || m != nil || !errors.Is(c.err, errAny) && !errors.Is(err, c.err) {
				t.Errorf("%v", err)
			}
			if !errors.Is(c.err, iofs.ErrNotExist) && errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("%v is absence", err)
			}
		})
	}
}

var errAny = errors.New("any error")

// typed answers with a body of a media type.
func typed(mediaType, body string) registrytest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		w.Header().Set("Content-Type", mediaType)
		_, _ = io.WriteString(w, body)
	}
}

func TestResolveAnswers(t *testing.T) {
	content := []byte(`{"schemaVersion":2}`)
	d := registrytest.DigestOf(content)
	head := func(f func(w http.ResponseWriter)) registrytest.Fault {
		return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			if req.Method == http.MethodHead {
				f(w)
				return
			}
			next(w, r)
		}
	}
	header := func(digest, length string) registrytest.Fault {
		return head(func(w http.ResponseWriter) {
			w.Header().Set("Docker-Content-Digest", digest)
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
		})
	}
	status := func(n int) registrytest.Fault { return head(func(w http.ResponseWriter) { w.WriteHeader(n) }) }
	for name, c := range map[string]struct {
		fault registrytest.Fault
		ref   string
		err   error
		log   string
	}{
		"no digest":         {header("", "19"), "x", nil, "HEAD manifest, manifest"},
		"no digest of ours": {header("sha512:00", "19"), "x", nil, "HEAD manifest, manifest"},
		"no size":           {header(d.String(), ""), "x", nil, "HEAD manifest, manifest"},
		"no HEAD":           {status(405), "x", nil, "HEAD manifest, manifest"},
		"HEAD is unknown":   {status(501), "x", nil, "HEAD manifest, manifest"},
		"other digest":      {header(someDigest, "19"), d.String(), ErrMismatch, "HEAD manifest"},
		"gone":              {status(404), "x", iofs.ErrNotExist, "HEAD manifest"},
		"denied":            {status(403), "x", iofs.ErrPermission, "HEAD manifest"},
		"broken":            {status(500), "x", errAny, "HEAD manifest"},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.PutManifest("a", "x", types.OCIManifestSchema1, content)
			s.Break(registrytest.Only(registrytest.Manifest, c.fault))
			got, err := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a").Resolve(t.Context(), c.ref)
			if c.err == nil && (err != nil || got.Digest != d || got.Size != 19) {
				t.Errorf("%v, %v", got, err)
			}
			if c.err != nil && (err == nil || !errors.Is(c.err, errAny) && !errors.Is(err, c.err)) {
				t.Errorf("%v", err)
			}
			if log, _ := strings.CutPrefix(asked(s), "ping, "); log != c.log {
				t.Errorf("asked for %s", log)
			}
		})
	}
}

func TestManifestIsLeft(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	arrived := make(chan struct{})
	s.Break(registrytest.Only(registrytest.Manifest, func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
		close(arrived)
		s.Silent()(w, r, req, next)
	}))
	ctx, leave := context.WithCancelCause(t.Context())
	why := errors.New("left")
	go func() {
		<-arrived
		leave(why)
	}()
	if _, err := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a").Manifest(ctx, "x"); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}

func TestMediaType(t *testing.T) {
	for name, c := range map[string]struct {
		header, document string
		want             types.MediaType
	}{
		"header":             {"application/vnd.oci.image.index.v1+json", `{}`, types.OCIImageIndex},
		"header with more":   {"application/vnd.oci.image.index.v1+json; charset=utf-8", `{}`, types.OCIImageIndex},
		"both":               {"application/vnd.oci.image.index.v1+json", `{"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}`, types.OCIManifestSchema1},
		"document":           {"application/json", `{"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}`, types.DockerManifestSchema2},
		"no header":          {"", `{"mediaType":"application/vnd.docker.distribution.manifest.v2+json"}`, types.DockerManifestSchema2},
		"text":               {"text/plain; charset=utf-8", `{"layers":[]}`, types.OCIManifestSchema1},
		"index by its shape": {"application/octet-stream", `{"manifests":[]}`, types.OCIImageIndex},
		"signed schema 1":    {"application/json", `{"schemaVersion":1,"signatures":[]}`, types.DockerManifestSchema1Signed},
		"schema 1":           {"application/json", `{"schemaVersion":1,"fsLayers":[]}`, types.DockerManifestSchema1},
		"nothing known":      {"application/json", `{}`, "application/json"},
		"no JSON":            {"application/json", `x`, "application/json"},
		"broken header":      {"a/b/c;;", `{"layers":[]}`, types.OCIManifestSchema1},
	} {
		if got := mediaType(http.Header{"Content-Type": {c.header}}, []byte(c.document)); got != c.want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzManifestDocument(f *testing.F) {
	f.Add("application/json", []byte(`{"schemaVersion":1,"signatures":[{"protected":"e30"}]}`))
	f.Add("", []byte(`{"mediaType":"x","manifests":[],"layers":null}`))
	f.Add(string(types.DockerManifestSchema1Signed), signed([]byte("{\n   \"schemaVersion\": 1\n}")))
	f.Fuzz(func(t *testing.T, contentType string, b []byte) {
		mt := mediaType(http.Header{"Content-Type": {contentType}}, b)
		d, err := digestOf(mt, b)
		if err == nil && d != registrytest.DigestOf(b) && mt != types.DockerManifestSchema1Signed {
			t.Fatalf("%q of type %q has the digest %s", b, mt, d)
		}
	})
}

// TestDamagedOnItsWay: a tag's manifest is what the registry says that it is.
func TestDamagedOnItsWay(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{})
	s.PutManifest("a", "x", imageType, []byte(`{"schemaVersion":2,"layers":[]}`))
	s.Break(registrytest.Only(registrytest.Manifest, registrytest.FlipAt(5)))
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
	if _, err := r.Manifest(t.Context(), "x"); !errors.Is(err, ErrMismatch) {
		t.Errorf("%v; want ErrMismatch", err)
	}
	s.Heal()
	if _, err := r.Manifest(t.Context(), "x"); err != nil {
		t.Error(err)
	}
}
