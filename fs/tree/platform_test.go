package tree

import (
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// indexOf returns an index with an image for each platform, whose digest is its
// position.
func indexOf(t testing.TB, there ...string) []byte {
	t.Helper()
	document := v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex}
	for i, p := range there {
		d := v1.Descriptor{MediaType: types.OCIManifestSchema1, Size: int64(i), Digest: v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}}
		if p != "" {
			parts := append(strings.Split(p, "/"), "")
			system, version, _ := strings.Cut(strings.TrimSuffix(parts[0], ")"), "(")
			d.Platform = &v1.Platform{OS: system, Architecture: parts[1], Variant: parts[2], OSVersion: version}
		}
		document.Manifests = append(document.Manifests, d)
	}
	b, err := json.Marshal(document)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPlatformSelect(t *testing.T) {
	cases := map[string]struct {
		wanted string
		there  []string
		chosen int // -1: none
	}{
		"exact":                             {"linux/amd64", []string{"linux/arm64", "linux/amd64"}, 1},
		"first of equals":                   {"linux/amd64", []string{"linux/amd64", "linux/amd64"}, 0},
		"arm64 is arm64/v8":                 {"linux/arm64", []string{"linux/amd64", "linux/arm64/v8"}, 1},
		"arm/v7 takes v7 before v6":         {"linux/arm/v7", []string{"linux/arm/v6", "linux/arm/v7"}, 1},
		"arm/v7 takes v6 where it must":     {"linux/arm/v7", []string{"linux/arm/v5", "linux/arm/v6"}, 1},
		"arm/v6 never takes v7":             {"linux/arm/v6", []string{"linux/arm/v7"}, -1},
		"amd64 never takes 386":             {"linux/amd64", []string{"linux/386"}, -1},
		"arm64 never takes arm":             {"linux/arm64", []string{"linux/arm/v7"}, -1},
		"amd64 never takes amd64/v3":        {"linux/amd64", []string{"linux/amd64/v3", "linux/amd64"}, 1},
		"amd64/v3 takes the best":           {"linux/amd64/v3", []string{"linux/amd64", "linux/amd64/v3", "linux/amd64/v2"}, 1},
		"another system":                    {"linux/amd64", []string{"windows/amd64"}, -1},
		"attestations are not images":       {"linux/amd64", []string{"unknown/unknown", "linux/amd64"}, 1},
		"the first of any version":          {"windows/amd64", []string{"windows(10.0.20348.1)/amd64", "windows(10.0.17763.1)/amd64"}, 0},
		"a version":                         {"windows(10.0.17763.1)/amd64", []string{"windows(10.0.20348.1)/amd64", "windows(10.0.17763.1)/amd64"}, 1},
		"a release of a version":            {"windows(10.0.17763)/amd64", []string{"windows(10.0.177631)/amd64", "windows(10.0.17763.1)/amd64"}, 1},
		"another version":                   {"windows(10.0.17763.1)/amd64", []string{"windows(10.0.17763.11)/amd64", "windows/amd64"}, -1},
		"without a platform it is no match": {"linux/amd64", []string{""}, -1},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p, err := ParsePlatform(c.wanted)
			if err != nil {
				t.Fatal(err)
			}
			d, err := p.Select(indexOf(t, c.there...))
			if c.chosen < 0 {
				if !errors.Is(err, ErrNoPlatform) || !errors.Is(err, iofs.ErrNotExist) {
					t.Fatalf("chose %v, error %v, want none", d.Platform, err)
				}
				if !strings.Contains(err.Error(), p.String()) {
					t.Errorf("%q does not name %s", err, p)
				}
				return
			}
			if err != nil || d.Size != int64(c.chosen) {
				t.Fatalf("chose %v, error %v, want number %d", d.Platform, err, c.chosen)
			}
		})
	}
}

func TestPlatformErrorNamesWhatThereIs(t *testing.T) {
	p, err := ParsePlatform("linux/s390x")
	if err != nil {
		t.Fatal(err)
	}
	_, err = p.Select(indexOf(t, "linux/amd64", "linux/arm/v7", "unknown/unknown", "windows(10.0.1)/amd64", "windows(10.0.2)/amd64", "windows(10.0.1)/amd64"))
	if got, want := err.Error(), "no image for the platform linux/s390x: there are linux/amd64, linux/arm/v7, windows(10.0.1)/amd64, windows(10.0.2)/amd64"; got != want {
		t.Errorf("error %q, want %q", got, want)
	}
	if p, err = ParsePlatform("windows(10.0.2)/amd64"); err != nil || p.String() != "windows(10.0.2)/amd64" {
		t.Errorf("windows(10.0.2)/amd64 is %s, %v", p, err)
	}
}

func TestParsePlatform(t *testing.T) {
	for _, s := range []string{"", "linux", "amd64", "linux/", "/amd64", "a/b/c/d", "li nux/amd64"} {
		if p, err := ParsePlatform(s); err == nil {
			t.Errorf("ParsePlatform(%q) = %s, want an error", s, p)
		}
	}
	if p, err := ParsePlatform("linux/x86_64"); err != nil || p.String() != "linux/amd64" {
		t.Errorf("linux/x86_64 is %s, %v", p, err)
	}
	if got := (Platform{}).String(); !strings.HasPrefix(got, "linux/") {
		t.Errorf("this machine's platform is %s, want one of linux", got)
	}
}

// What is wrong with one entry is no concern of another's.
func TestPlatformSelectFromOddIndexes(t *testing.T) {
	var (
		good    = `{"digest":"sha256:0000000000000000000000000000000000000000000000000000000000000000","size":7,"platform":{"os":"linux","architecture":"amd64"}}`
		nested  = `{"mediaType":"application/vnd.oci.image.index.v1+json",` + good[1:]
		another = `{"digest":"sha512:00","platform":{"os":"linux","architecture":"arm64"}}`
	)
	var many strings.Builder
	for n := range 99 {
		many.WriteString(strings.Replace(good, "amd64", fmt.Sprintf("cpu%d", n), 1) + ",")
	}
	cases := map[string]struct {
		index string
		size  int64  // of what is chosen; 0: none
		says  string // in the error
	}{
		"a digest of another kind elsewhere": {`{"manifests":[` + another + `,` + good + `]}`, 7, ""},
		"a digest of another kind":           {strings.Replace(`{"manifests":[`+another+`]}`, "arm64", "amd64", 1), 0, "digest"},
		"no digest":                          {`{"manifests":[{"platform":{"os":"linux","architecture":"amd64"}}]}`, 0, "digest"},
		"no system":                          {`{"manifests":[` + strings.Replace(good, `"os":"linux",`, "", 1) + `]}`, 0, "no platform at all"},
		"no architecture":                    {`{"manifests":[` + strings.Replace(good, `"amd64"`, `""`, 1) + `]}`, 0, "no platform at all"},
		"an index inside":                    {`{"manifests":[` + nested + `]}`, 0, "linux/amd64 (an index)"},
		"an index inside, and an image":      {`{"manifests":[` + nested + `,` + good + `]}`, 7, ""},
		"hostile words":                      {`{"manifests":[` + strings.Replace(good, `"linux"`, `"li\u001b[2Jnux"`, 1) + `]}`, 0, "no platform at all"},
		"long words":                         {`{"manifests":[` + strings.Replace(good, `"linux"`, `"`+strings.Repeat("x", 1000)+`"`, 1) + `]}`, 0, "no platform at all"},
		"a long digest":                      {strings.Replace(`{"manifests":[`+good+`]}`, "sha256", strings.Repeat("x", 100_000), 1), 0, "digest"},
		"a long number":                      {`{"manifests":[{"digest":1` + strings.Repeat("0", 100_000) + `}]}`, 0, "number"},
		"null":                               {`null`, 0, "no platform at all"},
		"null inside":                        {`{"manifests":null}`, 0, "no platform at all"},
		"null entries":                       {`{"manifests":[null,` + good + `]}`, 7, ""},
		"no list":                            {`{"manifests":{}}`, 0, "no list"},
		"too many":                           {`{"manifests":[` + strings.Repeat("{},", maxEntries) + good + `]}`, 0, errTooManyEntries.Error()},
		"features":                           {`{"manifests":[` + strings.Replace(good, `"os":`, `"os.features":["x",5,{}],"features":"none","os":`, 1) + `]}`, 7, ""},
		"many":                               {`{"manifests":[` + strings.Repeat("{},", maxEntries-1) + good + `]}`, 7, ""},
		"many platforms":                     {`{"manifests":[` + many.String() + "{}]}", 0, "linux/cpu31, 67 more"},
		"one platform often":                 {`{"manifests":[` + strings.Repeat(strings.Replace(good, "amd64", "arm64", 1)+",", 99) + "{}]}", 0, "there are linux/arm64"},
		"a hostile version":                  {`{"manifests":[` + strings.Replace(good, `"os":"linux"`, `"os":"windows","os.version":"\u009b2J"`, 1) + `]}`, 0, "there are windows/amd64"},
		"an index of no platform":            {`{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:` + strings.Repeat("0", 64) + `"}]}`, 0, "index-000000000000 (an index of no platform)"},
		"cut":                                {`{"manifests":[` + good, 0, "JSON"},
	}
	p, err := ParsePlatform("linux/amd64")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := p.Select([]byte(c.index))
			if d.Size != c.size || (err == nil) != (c.size > 0) {
				t.Errorf("chose %+v, %v", d, err)
			}
			if err != nil && (!strings.Contains(err.Error(), c.says) || len(err.Error()) > 1000) {
				t.Errorf("error %q, want one that says %q", err, c.says)
			}
		})
	}
}

func FuzzPlatformSelect(f *testing.F) {
	f.Add(indexOf(f, "linux/amd64", "linux/arm/v7", ""))
	f.Add([]byte(`{"manifests":[{"platform":{}}]}`))
	f.Add([]byte(`{"manifests":[{"digest":"sha512:00","size":-1,"platform":{"os":"unknown","architecture":"amd64","variant":"v3"}}],"manifests":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := ParsePlatform("linux/arm/v7")
		if err != nil {
			t.Fatal(err)
		}
		d, err := p.Select(b)
		switch {
		case err != nil && len(err.Error()) > 10_000:
			t.Errorf("an error of %d bytes", len(err.Error()))
		case err == nil && (d.Platform == nil || d.Platform.OS == "" || d.Digest.Algorithm != "sha256"):
			t.Errorf("chose %+v", d)
		case err == nil && platforms.Normalize(ocispec.Platform{OS: d.Platform.OS, Architecture: d.Platform.Architecture}).Architecture != "arm":
			t.Errorf("chose %+v for arm", d.Platform)
		}
	})
}
