package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// ofReferrers are artifact types and digests, as they come.
func ofReferrers(found []Descriptor) []string {
	lines := []string{}
	for _, d := range found {
		lines = append(lines, d.ArtifactType+" "+d.Digest.String())
	}
	slices.Sort(lines)
	return lines
}

func TestReferrers(t *testing.T) {
	for name, opts := range map[string]registrytest.Options{
		"one page":  {},
		"by pages":  {PageSize: 2},
		"one each":  {PageSize: 1, Bearer: true},
		"a login":   {Username: "u", Password: "p"},
		"exact end": {PageSize: 5},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, opts)
			d := s.PutManifest("a", "1", imageType, []byte("{}"))
			var want []string
			for i := range 5 {
				kind := fmt.Sprint("application/vnd.example.", i%2)
				want = append(want, kind+" "+s.PutReferrer("a", d, kind, fmt.Sprint(i)).String())
			}
			slices.Sort(want)
			s.PutReferrer("a", registrytest.DigestOf(nil), "application/vnd.other", "")
			keychain := BoundCredentials(s.Host(), "u", "p", Anonymous())
			r := repositoryOf(t, clientOf(t, Options{Keychain: keychain}), s.Host()+"/a")
			found, err := r.Referrers(t.Context(), d)
			if got := ofReferrers(found); err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, %v, want %q", got, err, want)
			}
			if pages := 5 / max(opts.PageSize, 1); opts.PageSize > 0 && s.Count(registrytest.Referrers) < pages {
				t.Errorf("%d pages", s.Count(registrytest.Referrers))
			}
			if s.Count(registrytest.Manifest) != 0 {
				t.Errorf("asked for %s", asked(s))
			}
			found, err = r.Referrers(t.Context(), registrytest.DigestOf([]byte("nothing refers to it")))
			if err != nil || len(found) > 0 {
				t.Errorf("of what nothing refers to: %v, %v", found, err)
			}
		})
	}
}

// html is what a page for people is like.
func html(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = w.Write([]byte("<html>sign in</html>"))
}

// What a registry without the API answers to it, and how often it is asked for
// that by three digests: their tags say what refers to them.
func TestReferrersByTag(t *testing.T) {
	other := registrytest.Start(t, registrytest.Options{})
	other.Break(registrytest.Refuse(429, "TOOMANYREQUESTS", "nobody is to come here"))
	for name, c := range map[string]struct {
		fault registrytest.Fault
		asked int
	}{
		"no such page":       {nil, 1},
		"not found":          {registrytest.Refuse(404, "NOT_FOUND", "no such page"), 1},
		"bad request":        {registrytest.Refuse(400, "UNSUPPORTED", "?"), 1},
		"not allowed":        {registrytest.Refuse(405, "UNSUPPORTED", "?"), 1},
		"not acceptable":     {registrytest.Refuse(406, "UNSUPPORTED", "?"), 1},
		"not implemented":    {registrytest.Refuse(501, "UNSUPPORTED", "?"), 1},
		"a page":             {html, 1},
		"another document":   {typed("application/json", `{"errors":[]}`), 1},
		"an image":           {typed("application/json", `{"schemaVersion":2,"layers":[],"manifests":[]}`), 1},
		"a list of Docker's": {typed(string(types.DockerManifestList), `{"schemaVersion":2,"mediaType":"`+string(types.DockerManifestList)+`","manifests":[]}`), 1},
		// As ghcr.io does: to a page of github.com, which has limits of its own.
		"elsewhere": {to(other.URL() + "/packages"), 1},
		// That says nothing of the host's other repositories.
		"unknown name": {registrytest.Refuse(404, "NAME_UNKNOWN", "no such repository"), 3},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{NoReferrers: true})
			if c.fault != nil {
				s.Break(registrytest.Only(registrytest.Referrers, c.fault))
			}
			d := s.PutManifest("a", "1", imageType, []byte("{}"))
			want := Descriptor{MediaType: types.OCIManifestSchema1, Size: 7, ArtifactType: "x/y", Digest: s.PutReferrer("a", d, "x/y", "")}
			s.PutReferrersTag("a", d, want)
			r := repositoryOf(t, clientOf(t, Options{Retries: -1}), s.Host()+"/a")
			found, err := r.Referrers(t.Context(), d)
			if err != nil || len(found) != 1 || found[0].Digest != want.Digest || found[0].Size != 7 || found[0].ArtifactType != "x/y" {
				t.Errorf("%+v, %v", found, err)
			}
			image := registrytest.DigestOf([]byte("tagged"))
			s.PutManifest("a", ReferrersTag(image), imageType, []byte(`{"schemaVersion":2,"config":{},"layers":[]}`))
			for _, none := range []Digest{image, registrytest.DigestOf([]byte("nothing"))} {
				if found, err := r.Referrers(t.Context(), none); err != nil || len(found) > 0 {
					t.Errorf("%v, %v, of what has no list", found, err)
				}
			}
			if n := s.Count(registrytest.Referrers); n != c.asked {
				t.Errorf("asked for the API %d times, want %d", n, c.asked)
			}
			if other.Count() > 0 {
				t.Error("it was sent elsewhere")
			}
		})
	}
}

// A registry that gets the API is asked for it again, after a while.
func TestReferrersAPIComes(t *testing.T) {
	inBubble(t, registrytest.Options{}, Options{}, func(b *bubble) {
		b.server.Break(registrytest.Only(registrytest.Referrers, first(1, registrytest.Refuse(404, "NOT_FOUND", ""))))
		d := b.server.PutManifest("a", "1", imageType, []byte("{}"))
		b.server.PutReferrer("a", d, "x/y", "")
		r := b.repository("a")
		count := func() int {
			found, err := r.Referrers(b.Context(), d)
			if err != nil {
				b.Fatal(err)
			}
			return len(found)
		}
		if n := count() + count(); n != 0 {
			b.Errorf("%d found by a tag that there is not", n)
		}
		time.Sleep(withoutReferrers)
		if n := count(); n != 1 {
			b.Errorf("%d found by the API", n)
		}
	})
}

func index(entries ...string) registrytest.Fault {
	return typed(string(types.OCIImageIndex), `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":[`+strings.Join(entries, ",")+`]}`)
}

// What is no list of referrers is an error and never an empty list.
func TestReferrersAnswers(t *testing.T) {
	d := registrytest.DigestOf([]byte("{}"))
	entry := fmt.Sprintf(`{"digest":%q}`, d)
	linked := func(to string) registrytest.Fault {
		return func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			w.Header().Set("Link", "<"+to+`>; rel="next"`)
			index(entry)(w, r, req, next)
		}
	}
	endless := 0
	for name, c := range map[string]struct {
		fault registrytest.Fault
		want  int
		err   error
	}{
		"null":              {typed(string(types.OCIImageIndex), `{"schemaVersion":2,"mediaType":"`+string(types.OCIImageIndex)+`","manifests":null}`), 0, nil},
		"no media type":     {typed(string(types.OCIImageIndex), `{"schemaVersion":2,"manifests":[`+entry+`]}`), 1, nil},
		"other digests":     {index(entry, `{"digest":"sha512:`+strings.Repeat("0", 128)+`"}`, `{"digest":"../x"}`, `{}`, entry), 2, nil},
		"cut JSON":          {typed(string(types.OCIImageIndex), `{"manifests":[`+entry), 0, ErrProtocol},
		"no list":           {typed(string(types.OCIImageIndex), `{"manifests":{}}`), 0, ErrProtocol},
		"nothing in it":     {typed(string(types.OCIImageIndex), `{}`), 0, ErrProtocol},
		"too many":          {index(slices.Repeat([]string{"{}"}, maxReferrers+1)...), 0, ErrTooLarge},
		"too large":         {index(`{"mediaType":"` + strings.Repeat("x", maxPage) + `"}`), 0, ErrTooLarge},
		"same page again":   {linked("/v2/a/referrers/" + d.String()), 0, ErrProtocol},
		"another host":      {linked("http://example.com/v2/a/referrers/x"), 0, ErrRedirect},
		"a page is missing": {all(first(1, linked("/v2/a/referrers/x")), registrytest.Refuse(404, "NOT_FOUND", "")), 0, ErrProtocol},
		"filtered": {func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			w.Header().Set("OCI-Filters-Applied", "artifactType")
			index()(w, r, req, next)
		}, 0, ErrProtocol},
		"pages without end": {func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
			endless++
			linked(fmt.Sprint("/v2/a/referrers/", d, "?n=", endless))(w, r, req, next)
		}, 0, ErrTooLarge},
		"denied":       {registrytest.Refuse(403, "DENIED", ""), 0, errDenied},
		"out of order": {registrytest.Refuse(500, "UNKNOWN", ""), 0, nil},
		"dropped":      {registrytest.CutAfter(5), 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.PutManifest("a", "1", imageType, []byte("{}"))
			s.Break(registrytest.Only(registrytest.Referrers, c.fault))
			r := repositoryOf(t, clientOf(t, Options{Retries: -1}), s.Host()+"/a")
			found, err := r.Referrers(t.Context(), d)
			fails := c.err != nil || name == "out of order" || name == "dropped"
			if len(found) != c.want || (err != nil) != fails || c.err != nil && !errors.Is(err, c.err) {
				t.Errorf("%d found, %v", len(found), err)
			}
			if isAbsence(err) {
				t.Errorf("%v is absence", err)
			}
			if fails && s.Count(registrytest.Manifest) > 0 {
				t.Error("its tag was asked for in place of what failed")
			}
		})
	}
}

// A mirror may say what refers to a digest; that it has no list says nothing.
func TestReferrersOfMirrors(t *testing.T) {
	for name, c := range map[string]struct {
		mirror registrytest.Options
		lines  []string // of its table
		tagged bool     // the mirror has the tag
		asked  string   // of the registry itself
	}{
		"has the API":         {registrytest.Options{}, nil, false, ""},
		"has the tag":         {registrytest.Options{NoReferrers: true}, nil, true, ""},
		"has neither":         {registrytest.Options{NoReferrers: true}, nil, false, "referrers"},
		"is for blobs, alone": {registrytest.Options{}, []string{`capabilities = ["pull"]`}, false, "referrers"},
	} {
		t.Run(name, func(t *testing.T) {
			origin, m := startWithTag(t), registrytest.Start(t, c.mirror)
			d := registrytest.DigestOf([]byte("{}"))
			want := origin.PutReferrer("a", d, "x/y", "")
			m.PutManifest("a", "x", imageType, []byte("{}"))
			m.PutReferrer("a", d, "x/y", "")
			if c.tagged {
				m.PutReferrersTag("a", d, Descriptor{Digest: want})
			}
			r := repositoryOf(t, clientOf(t, mirroredBy(t, origin.Host(), mirror(m.URL(), c.lines...))), origin.Host()+"/a")
			found, err := r.Referrers(t.Context(), d)
			if err != nil || len(found) != 1 || found[0].Digest != want {
				t.Errorf("%+v, %v", found, err)
			}
			if got := kinds(origin); got != c.asked {
				t.Errorf("the registry itself was asked for %q, want %q", got, c.asked)
			}
		})
	}
}

func FuzzReferrers(f *testing.F) {
	d := registrytest.DigestOf(nil).String()
	for _, s := range []string{
		`{"schemaVersion":2,"manifests":[{"digest":"` + d + `","artifactType":"x","annotations":{"a":"b"}}]}`, `{"manifests":null}`, `{"manifests":[1]}`, `[]`,
		`{"mediaType":"application/vnd.oci.image.index.v1+json"}`, `{"manifests":[],"layers":[]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		found, err := referrersOf(b)
		if err != nil && (found != nil || !errors.Is(err, ErrProtocol) && !errors.Is(err, ErrTooLarge)) {
			t.Fatalf("%q: %v, %v", b, found, err)
		}
		for _, one := range found {
			if _, err := ParseDigest(one.Digest.String()); err != nil {
				t.Fatalf("%q: %v", b, err)
			}
		}
		if err == nil && !json.Valid(b) {
			t.Fatalf("%q is no JSON", b)
		}
	})
}
