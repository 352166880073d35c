package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// referrersAt is the directory of what refers to a digest.
func (f *fixture) referrersAt(repo string, d v1.Hash) referrersDir {
	f.t.Helper()
	r, err := f.tree.repository(f.path(repo))
	if err != nil {
		f.t.Fatal(err)
	}
	return referrersDir{r, d, f.path(repo + "/digests/" + d.String() + "/.referrers")}
}

// found lists the paths of the image directories below, which it also looks up.
func (f *fixture) found(d referrersDir) ([]string, error) {
	f.t.Helper()
	kinds, err := names(d.List(f.t.Context()))
	if err != nil {
		return nil, err
	}
	paths := []string{}
	for _, kind := range kinds {
		child, err := d.Lookup(f.t.Context(), kind)
		if err != nil {
			return nil, fmt.Errorf("look up %s: %w", kind, err)
		}
		all, err := names(child.Node.(Dir).List(f.t.Context()))
		if err != nil {
			return nil, err
		}
		for _, name := range all {
			paths = append(paths, kind+"/"+name)
		}
	}
	return paths, nil
}

func (f *fixture) wantFound(d referrersDir, want ...string) {
	f.t.Helper()
	slices.Sort(want)
	if got, err := f.found(d); err != nil || !slices.Equal(got, want) {
		f.t.Errorf("found %q, %v, want %q", got, err, want)
	}
}

// signed has an image with referrers of three kinds and cosign's tags.
func (f *fixture) signed(api bool) (d v1.Hash, want []string) {
	f.t.Helper()
	d = f.push("a", "1", 1)
	var listed []v1.Descriptor
	for i, kind := range []string{"application/vnd.example.sbom+json", "application/vnd.example.sbom+json", ".hidden/../x y", ""} {
		// A config of this type is what the API has for an artifact type of none.
		one := v1.Descriptor{MediaType: types.OCIManifestSchema1, ArtifactType: kind, Digest: f.server.PutReferrer("a", d, kind, fmt.Sprint(i))}
		safe := []string{"application_vnd.example.sbom+json", "application_vnd.example.sbom+json", "_hidden_.._x_y", "unknown"}[i]
		if api && kind == "" {
			safe = "application_vnd.oci.empty.v1+json"
		}
		want = append(want, safe+"/"+one.Digest.Hex[:12])
		listed = append(listed, one)
	}
	if !api {
		f.server.PutReferrersTag("a", d, append(listed, listed[0])...) // one twice
	}
	for i, kind := range cosignKinds[:2] {
		signature := f.push("a", cosignTag(d, kind), uint64(10+i))
		want = append(want, "cosign."+kind+"/"+signature.Hex[:12])
	}
	// One that is listed as well is of the kind that it says.
	f.server.Tag("a", cosignTag(d, "sbom"), listed[0].Digest)
	f.server.Forget()
	slices.Sort(want)
	return d, want
}

// TestReferrers: "What refers to an image is what the referrers API lists, or the tag
// for that where a registry has none, and what cosign's tags name." With one question
// each; and then it is known for the TTL of lists.
func TestReferrers(t *testing.T) {
	for name, api := range map[string]bool{"by the API": true, "by tags": false} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{NoReferrers: !api, PageSize: 2})
			d, want := f.signed(api)
			dir := f.referrersAt("a", d)
			if _, err := dir.Attr(t.Context()); err != nil || f.server.Count() > 0 {
				t.Fatalf("stat: %v, %d requests", err, f.server.Count())
			}
			f.wantFound(dir, want...)
			byAPI, byTag := 1, 4 // its tag too
			if api {
				byAPI, byTag = 2, 3
			}
			if n, m := f.server.Count(registrytest.Referrers), f.server.Count(registrytest.Manifest); n != byAPI || m != byTag {
				t.Errorf("asked for %v", f.server.Requests())
			}
			f.server.Forget()
			f.wantFound(dir, want...)
			f.wantFound(f.referrersAt("a", d), want...)
			// By another process too.
			f.tree = f.newTree("linux/amd64")
			f.wantFound(f.referrersAt("a", d), want...)
			f.pass(listTTL - time.Second)
			kind, err := f.referrersAt("a", d).Lookup(t.Context(), "cosign.sig")
			if err != nil || kind.Lifetime != time.Second {
				t.Errorf("good for %v, %v", kind.Lifetime, err)
			}
			for _, name := range []string{"cosign.other", "..", ".x", "a b", strings.Repeat("x", maxKind+1)} {
				if _, err := f.referrersAt("a", d).Lookup(t.Context(), name); !errors.Is(err, iofs.ErrNotExist) {
					t.Errorf("%q: %v", name, err)
				}
			}
			if n := f.server.Count(); n != 0 {
				t.Errorf("%d requests for what is known", n)
			}
			// An image directory is there, by its digest and for no longer than its name.
			list, err := names(kind.Node.(Dir).List(t.Context()))
			if err != nil || len(list) != 1 {
				t.Fatalf("%q, %v", list, err)
			}
			child, err := kind.Node.(Dir).Lookup(t.Context(), list[0])
			if err != nil || child.Lifetime != time.Second {
				t.Fatalf("%v, %v", child.Lifetime, err)
			}
			if _, err := child.Node.(Dir).Lookup(t.Context(), manifestName); err != nil {
				t.Error(err)
			}
			if _, err := kind.Node.(Dir).Lookup(t.Context(), strings.Repeat("0", 12)); !errors.Is(err, iofs.ErrNotExist) {
				t.Error(err)
			}
			f.pass(time.Second)
			f.server.PutReferrer("a", d, "x/new", "")
			f.server.Untag("a", cosignTag(d, "sig"))
			f.pass(tagTTL)
			got, err := f.found(f.referrersAt("a", d))
			hasNew := slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "x_new/") })
			if err != nil || hasNew != api || slices.ContainsFunc(got, func(s string) bool { return strings.HasPrefix(s, "cosign.sig/") }) {
				t.Errorf("after the TTL: %q, %v", got, err)
			}
		})
	}
}

// A list of tags that is at hand spares the questions for those that it lacks.
func TestReferrersOfListedTags(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d := f.push("a", "1", 1)
	signature := f.push("a", cosignTag(d, "sig"), 2)
	if _, err := f.list("a/tags"); err != nil {
		t.Fatal(err)
	}
	f.asked()
	f.wantFound(f.referrersAt("a", d), "cosign.sig/"+signature.Hex[:12])
	f.wantAsked("with a list at hand", "GET a:"+cosignTag(d, "sig"))
	f.pass(listTTL)
	f.wantFound(f.referrersAt("a", d), "cosign.sig/"+signature.Hex[:12])
	if n := len(f.asked()); n != 3 {
		t.Errorf("%d questions without one", n)
	}
}

func TestReferrersAtOnce(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d, want := f.signed(true)
	release := make(chan struct{})
	f.server.Break(registrytest.Only(registrytest.Referrers, f.server.Hold(release)))
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := f.found(f.referrersAt("a", d)); err != nil || !slices.Equal(got, want) {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	close(release)
	all.Wait()
	if n := f.server.Count(registrytest.Referrers); n != 1 {
		t.Errorf("asked for them %d times", n)
	}
}

// A refresh of the directory, of the tag that led there, and of all above makes the
// next look ask; one of another tag or digest does not.
func TestRefreshReferrers(t *testing.T) {
	for name, asks := range map[string]bool{"a/tags/1": true, "a/tags/2": false, "a": true, "/": true, "b": false, "itself": true, "a kind": true, "another": false} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{})
			d, want := f.signed(true)
			other := f.push("a", "2", 2)
			f.read("a/tags/1/digest")
			f.read("a/tags/2/digest")
			dir := f.referrersAt("a", d)
			f.wantFound(dir, want...)
			signature := f.push("a", cosignTag(d, "sig"), 20) // of another key
			f.pass(time.Second)
			f.server.Forget()
			switch name {
			case "itself":
				_ = dir.Refresh(t.Context())
			case "a kind":
				child, err := dir.Lookup(t.Context(), "cosign.sig")
				if err != nil {
					t.Fatal(err)
				}
				_ = child.Node.(Refresher).Refresh(t.Context())
			case "another":
				_ = f.referrersAt("a", other).Refresh(t.Context())
			default:
				f.refresh(name)
			}
			f.pass(time.Nanosecond)
			if n := f.server.Count(); n > 0 {
				t.Errorf("%d requests by the refresh", n)
			}
			got, err := f.found(dir)
			if err != nil || slices.Contains(got, "cosign.sig/"+signature.Hex[:12]) != asks || (f.server.Count(registrytest.Referrers) > 0) != asks {
				t.Errorf("%q, %v, after %v", got, err, f.server.Requests())
			}
		})
	}
}

// What the registry cannot say now is what it was, for as long as tags are; what it
// never said is an error, and never nothing.
func TestReferrersFail(t *testing.T) {
	f, log := staleFixture(t)
	d, want := f.signed(true)
	f.wantFound(f.referrersAt("a", d), want...)
	for _, kind := range []registrytest.Kind{registrytest.Referrers, registrytest.Manifest} {
		other := registrytest.DigestOf([]byte(kind))
		f.pass(max(tagTTL, listTTL))
		f.server.Break(registrytest.Only(kind, registrytest.Refuse(500, "UNKNOWN", "out of order")))
		f.server.Forget()
		for range 3 {
			if kind == registrytest.Referrers {
				f.wantFound(f.referrersAt("a", d), want...)
			}
			if got, err := f.found(f.referrersAt("a", other)); err == nil || errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("of what nothing is known of, while %s fails: %q, %v", kind, got, err)
			}
		}
		if n := f.server.Count(registrytest.Referrers); n != 2 && kind == registrytest.Referrers {
			t.Errorf("asked for them %d times", n)
		}
		f.server.Heal()
		f.pass(staleFor)
		f.wantFound(f.referrersAt("a", d), want...)
		f.wantFound(f.referrersAt("a", other))
	}
	if n := strings.Count(log.String(), "refers to a digest"); n != 1 {
		t.Errorf("%d lines in the log: %s", n, log)
	}
	// What it says is believed.
	f.pass(listTTL)
	f.server.Break(registrytest.Only(registrytest.Referrers, registrytest.Refuse(403, "DENIED", "no more")))
	if _, err := f.found(f.referrersAt("a", d)); !errors.Is(err, iofs.ErrPermission) {
		t.Errorf("denied: %v", err)
	}
	f.server.Heal()
	f.pass(staleIfError)
	f.server.Break(f.server.Silent())
	f.tree.staleWait = 10 * time.Millisecond
	ctx, cancel := context.WithTimeoutCause(t.Context(), 50*time.Millisecond, iofs.ErrClosed)
	defer cancel()
	if _, err := names(f.referrersAt("a", d).List(ctx)); !errors.Is(err, iofs.ErrClosed) {
		t.Errorf("too old to be served: %v", err)
	}
}

// A registry that is silent is not waited for as long as one of which nothing is known.
func TestReferrersDoNotWait(t *testing.T) {
	f, _ := staleFixture(t)
	f.tree.staleWait = 10 * time.Millisecond
	d, want := f.signed(true)
	f.wantFound(f.referrersAt("a", d), want...)
	f.pass(listTTL)
	f.server.Break(f.server.Silent())
	f.wantFound(f.referrersAt("a", d), want...)
}

func TestReferrersOffline(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d, want := f.signed(true)
	f.wantFound(f.referrersAt("a", d), want...)
	f.pass(365 * 24 * time.Hour)
	f.server.Forget()
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.Offline = true })
	f.wantFound(f.referrersAt("a", d), want...)
	if _, err := f.found(f.referrersAt("a", registrytest.DigestOf(nil))); !errors.Is(err, ErrOffline) {
		t.Errorf("%v", err)
	}
	// Nor for a program that indexes file systems.
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.Pace = 10 })
	crawler := WithCaller(t.Context(), func() Caller { return Caller{Process: 7, Name: "updatedb"} })
	if got, err := names(f.referrersAt("a", d).List(crawler)); err != nil || len(got) == 0 {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := names(f.referrersAt("a", registrytest.DigestOf(nil)).List(crawler)); !errors.Is(err, ErrCrawler) {
		t.Errorf("%v", err)
	}
	if n := f.server.Count(); n > 0 {
		t.Errorf("%d requests", n)
	}
}

func TestKindOf(t *testing.T) {
	for artifactType, want := range map[string]string{
		"": "unknown", "application/vnd.example+json": "application_vnd.example+json", "a.b_c-d+E9": "a.b_c-d+E9",
		"..": "_.", ".git": "_git", "-rf": "_rf", "a/../b": "a_.._b", "é\x00\n": "____", strings.Repeat("x", 1000): strings.Repeat("x", maxKind),
	} {
		if got := kindOf(artifactType); got != want || got != kindOf(got) {
			t.Errorf("%q is %q, want %q", artifactType, got, want)
		}
	}
}

func TestShortNames(t *testing.T) {
	var digests []v1.Hash
	for _, hex := range []string{"00", "01", strings.Repeat("0", 62) + "1", "10"} {
		digests = append(digests, v1.Hash{Algorithm: "sha256", Hex: (hex + strings.Repeat("0", 64))[:64]})
	}
	seen := map[string]bool{}
	short := 0
	for _, name := range shortNames(digests) {
		seen[name] = true
		if len(name) == shortDigest {
			short++
		}
	}
	if len(seen) != len(digests) || short != 2 {
		t.Errorf("%v", seen)
	}
}

// What is known of referrers is bounded by their number.
func TestReferrerListsAreBounded(t *testing.T) {
	l := newReferrerLists()
	many := knownReferrers{Referrers: cache.Referrers{Found: make([]cache.Referrer, 10_000)}}
	for i := range 20 {
		l.put("a", registrytest.DigestOf([]byte{byte(i)}), many)
		if l.count > rememberedReferrers {
			t.Fatalf("%d in memory", l.count)
		}
	}
	l.put("a", registrytest.DigestOf([]byte{19}), knownReferrers{})
	if want := (rememberedReferrers/10_000 - 1) * 10_000; l.count != want {
		t.Errorf("%d in memory, want %d", l.count, want)
	}
}

// TestAllTags: "Tags that stand for what refers to an image are not listed, but with
// --all-tags; they can be looked up."
func TestAllTags(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d := f.push("a", "1", 1)
	hex := registrytest.DigestOf(nil).Hex
	hidden := []string{"sha256-" + hex, "sha256-" + hex + ".sig", "sha256-" + hex + ".att", "sha256-" + hex + ".sbom", "sha256-" + hex + ".other_one-1"}
	shown := []string{
		"1", "sha256-" + hex[1:], "sha256-" + hex + "0", "sha256-" + strings.ToUpper(hex[:63]) + "A", "sha256-" + hex + ".", "sha256-" + hex + ".a.b",
		"sha256-" + hex + "." + strings.Repeat("x", 17), "sha256", "v" + hex,
	}
	for _, tag := range slices.Concat(hidden, shown) {
		f.server.Tag("a", tag, d)
	}
	slices.Sort(shown)
	if got, err := f.list("a/tags"); err != nil || !slices.Equal(got, shown) {
		t.Errorf("listed %q, %v, want %q", got, err, shown)
	}
	for _, tag := range hidden {
		f.mustLookup("a/tags/" + tag)
	}
	f.tree = f.newTreeWith("linux/amd64", func(o *Options) { o.AllTags = true })
	want := slices.Sorted(slices.Values(slices.Concat(hidden, shown)))
	if got, err := f.list("a/tags"); err != nil || !slices.Equal(got, want) {
		t.Errorf("listed %q, %v, want all of them", got, err)
	}
}

// "referrers leads to what refers to the image: one image directory each, by artifact type." It is not listed
// where it leads to.
func TestReferrersLink(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	d, want := f.signed(true)
	digest := "a/digests/" + d.String()
	for dir, up := range map[string]string{"a/tags/1": "../../", digest: "../../", "a/tags/1@" + d.String(): "../../"} {
		link, ok := f.mustLookup(dir + "/referrers").Node.(Link)
		if !ok {
			t.Fatalf("%s/referrers is no link", dir)
		}
		if got, err := link.Target(t.Context()); err != nil || got != up+"digests/"+d.String()+"/.referrers" {
			t.Errorf("%s/referrers leads to %q, %v", dir, got, err)
		}
		if names, err := f.list(dir); err != nil || slices.Contains(names, ".referrers") || !slices.Contains(names, "referrers") {
			t.Errorf("%s lists %q, %v", dir, names, err)
		}
	}
	if _, err := f.lookup("a/tags/1/.referrers"); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("below a tag: %v", err)
	}
	if n := f.server.Count(registrytest.Referrers); n != 0 {
		t.Errorf("%d requests for what refers to it, to look at links", n)
	}
	f.asked()
	if got, err := f.found(f.mustLookup(digest + "/.referrers").Node.(referrersDir)); err != nil || !slices.Equal(got, slices.Sorted(slices.Values(want))) {
		t.Errorf("found %q, %v, want %q", got, err, want)
	}
	for _, line := range f.asked() {
		if !strings.Contains(line, "sha256-") {
			t.Errorf("asked %q to list", line)
		}
	}
	for _, path := range want {
		_, short, _ := strings.Cut(path, "/")
		if got := f.read(digest + "/.referrers/" + path + "/digest"); !strings.HasPrefix(got, "sha256:"+short) {
			t.Errorf("%s is %s", path, got)
		}
	}
	f.server.Forget()
	if err := f.mustLookup(digest).Node.(Refresher).Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.found(f.mustLookup(digest + "/.referrers").Node.(referrersDir)); err != nil || f.server.Count(registrytest.Referrers) == 0 {
		t.Errorf("after a refresh: %v, %d requests", err, f.server.Count(registrytest.Referrers))
	}
}
