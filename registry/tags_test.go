package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// tagsOf collects until an error.
func tagsOf(t testing.TB, r *Repository) (tags []string, err error) {
	t.Helper()
	for tag, e := range r.Tags(t.Context()) {
		if err != nil {
			t.Fatalf("%q, %v after an error", tag, e)
		}
		if e != nil {
			err = e
			continue
		}
		tags = append(tags, tag)
	}
	return tags, err
}

func TestTags(t *testing.T) {
	for _, c := range []struct{ tags, pageSize, pages int }{{0, 0, 1}, {1, 0, 1}, {10, 3, 4}, {9, 3, 3}, {2500, 0, 3}} {
		t.Run(fmt.Sprint(c.tags, " by ", c.pageSize), func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{PageSize: c.pageSize, Bearer: true})
			var want []string
			d := s.PutManifest("a/b", "", imageType, []byte("{}"))
			for i := range c.tags {
				want = append(want, fmt.Sprintf("v%04d", i))
				s.Tag("a/b", want[i], d)
			}
			got, err := tagsOf(t, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a/b"))
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%d tags, %v", len(got), err)
			}
			if s.Count(registrytest.Tags) != c.pages || s.Count() != c.pages+2 {
				t.Errorf("asked for %s", asked(s))
			}
		})
	}
}

// Pages are asked for as they are read.
func TestTagsStop(t *testing.T) {
	s := registrytest.Start(t, registrytest.Options{PageSize: 2})
	for i := range 10 {
		s.Tag("a", fmt.Sprint(i), Digest{})
	}
	r := repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a")
	n := 0
	for _, err := range r.Tags(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if s.Count(registrytest.Tags) != 2 {
		t.Errorf("asked for %s", asked(s))
	}
	ctx, leave := context.WithCancel(t.Context())
	defer leave()
	var err error
	for _, err = range r.Tags(ctx) {
		leave()
	}
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// pages answers with fixed pages, and after each with a Link.
func pages(link func(n int) string, bodies ...string) registrytest.Fault {
	n := 0
	return registrytest.Only(registrytest.Tags, func(w http.ResponseWriter, _ *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		if n == len(bodies) {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if l := link(n); l != "" {
			w.Header().Set("Link", l)
		}
		n++
		_, _ = w.Write([]byte(bodies[n-1]))
	})
}

func TestTagsAnswers(t *testing.T) {
	last := func(int) string { return "" }
	next := func(n int) string { return fmt.Sprintf(`</v2/a/tags/list?last=%d>; rel="next"`, n) }
	same := func(int) string { return `</v2/a/tags/list?n=1000>; rel="next"` }
	page := `{"name":"a","tags":["x"]}`
	for name, c := range map[string]struct {
		fault registrytest.Fault
		want  string
		err   error
	}{
		"null":              {pages(last, `{"name":"a","tags":null}`), "", nil},
		"names of no tag":   {pages(last, `{"name":"a","tags":["x","","../y",".z","a/b","c\u0000","ok"]}`), "x ok", nil},
		"no list":           {pages(last, `{"errors":[{"code":"UNKNOWN"}]}`), "", ErrProtocol},
		"no JSON":           {pages(last, `<html>sign in</html>`), "", ErrProtocol},
		"cut JSON":          {pages(last, `{"name":"a","tags":["x"`), "", ErrProtocol},
		"other types":       {pages(last, `{"name":"a","tags":[1,2]}`), "", ErrProtocol},
		"nothing":           {pages(last, ``), "", ErrProtocol},
		"too large":         {pages(last, `{"name":"a","tags":["`+strings.Repeat("x", maxPage)+`"]}`), "", ErrTooLarge},
		"names of nothing":  {pages(last, `{"name":"a","tags":[`+strings.Repeat("null,", maxNames+1)+`null]}`), "", ErrTooLarge},
		"unknown":           {registrytest.Refuse(404, "NAME_UNKNOWN", ""), "", iofs.ErrNotExist},
		"denied":            {registrytest.Refuse(403, "DENIED", ""), "", iofs.ErrPermission},
		"a page is missing": {pages(next, page), "x", ErrProtocol},
		"same page again":   {pages(same, page, page, page), "x", ErrProtocol},
		"long link":         {pages(func(int) string { return "<?" + strings.Repeat("x", maxLink) + `>; rel="next"` }, page), "", ErrProtocol},
		"dropped":           {registrytest.CutAfter(5), "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Start(t, registrytest.Options{})
			s.Tag("a", "x", Digest{})
			s.Break(registrytest.Only(registrytest.Tags, c.fault))
			tags, err := tagsOf(t, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a"))
			if got := strings.Join(tags, " "); got != c.want {
				t.Errorf("tags %s", got)
			}
			switch {
			case name == "dropped":
				if err == nil || errors.Is(err, ErrProtocol) {
					t.Errorf("%v", err)
				}
			case !errors.Is(err, c.err) || (err == nil) != (c.err == nil):
				t.Errorf("%v", err)
			}
			if !errors.Is(c.err, iofs.ErrNotExist) && errors.Is(err, iofs.ErrNotExist) {
				t.Errorf("%v is absence", err)
			}
		})
	}
}

// A page as long as was asked for, without a word of more, is asked what comes
// after it: a registry may cut a list so. One that does not know what "after"
// means sends what came already, which is the end.
func TestTagsCutWithoutALink(t *testing.T) {
	for name, c := range map[string]struct {
		tags, pages int
		after       func(tags []string, last string) []string
	}{
		"less than a page":        {perPage - 1, 1, nil},
		"a page":                  {perPage, 2, tagsAfter},
		"more":                    {2*perPage + 1, 3, tagsAfter},
		"pages":                   {2 * perPage, 3, tagsAfter},
		"all again at the end":    {2 * perPage, 3, tagsAfterOrAll},
		"the first page again":    {perPage, 2, tagsAfterOrAll},
		"after is not known":      {perPage, 2, func(tags []string, _ string) []string { return tags }},
		"more than was asked for": {perPage + 1, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var tags []string
			for i := range c.tags {
				tags = append(tags, fmt.Sprintf("t%05d", i))
			}
			s := registrytest.Start(t, registrytest.Options{})
			s.Break(func(w http.ResponseWriter, r *http.Request, req registrytest.Request, next http.HandlerFunc) {
				if req.Kind != registrytest.Tags {
					next(w, r)
					return
				}
				page := tags
				if last := r.URL.Query().Get("last"); last != "" {
					page = c.after(tags, last)
				}
				if c.after != nil && len(page) > perPage {
					page = page[:perPage]
				}
				_ = json.NewEncoder(w).Encode(map[string]any{"name": "a", "tags": page})
			})
			got, err := tagsOf(t, repositoryOf(t, clientOf(t, Options{}), s.Host()+"/a"))
			if err != nil || !slices.Equal(got, tags) || s.Count(registrytest.Tags) != c.pages {
				t.Errorf("%d tags of %d, by %d pages, want %d (%v)", len(got), len(tags), s.Count(registrytest.Tags), c.pages, err)
			}
		})
	}
}

func tagsAfter(tags []string, last string) []string {
	i, _ := slices.BinarySearch(tags, last+"\x00")
	return tags[i:]
}

// tagsAfterOrAll is what go-containerregistry's registry does.
func tagsAfterOrAll(tags []string, last string) []string {
	if after := tagsAfter(tags, last); len(after) > 0 {
		return after
	}
	return tags
}

// A next page elsewhere is not asked for, least of all with credentials.
func TestTagsLinkElsewhere(t *testing.T) {
	other := registrytest.Start(t, registrytest.Options{})
	s := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p"})
	s.Break(pages(func(int) string { return "<" + other.URL() + `/v2/a/tags/list?last=x>; rel="next"` }, `{"name":"a","tags":["x"]}`))
	r := repositoryOf(t, clientOf(t, Options{Keychain: BoundCredentials(s.Host(), "u", "p", Anonymous())}), s.Host()+"/a")
	if _, err := tagsOf(t, r); !errors.Is(err, ErrRedirect) || other.Count() != 0 {
		t.Errorf("%v, after %d requests", err, other.Count())
	}
}

// A list that was redirected goes on where it is, without credentials.
func TestTagsOfRedirectedRepository(t *testing.T) {
	other := registrytest.Start(t, registrytest.Options{PageSize: 1})
	other.Tag("b", "x", Digest{})
	other.Tag("b", "y", Digest{})
	s := registrytest.Start(t, registrytest.Options{Username: "u", Password: "p"})
	s.Break(registrytest.Only(registrytest.Tags, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, _ http.HandlerFunc) {
		http.Redirect(w, r, other.URL()+"/v2/b/tags/list", http.StatusFound)
	}))
	r := repositoryOf(t, clientOf(t, Options{Keychain: BoundCredentials(s.Host(), "u", "p", Anonymous())}), s.Host()+"/a")
	if tags, err := tagsOf(t, r); err != nil || !slices.Equal(tags, []string{"x", "y"}) {
		t.Errorf("%s, %v", tags, err)
	}
	if log := asked(other); log != "tags, tags" {
		t.Errorf("the other host was asked for %s", log)
	}
}

func TestNextPage(t *testing.T) {
	current, err := url.Parse("https://registry.example.com:5000/v2/a/tags/list?n=2")
	if err != nil {
		t.Fatal(err)
	}
	const at = "https://registry.example.com:5000"
	for link, want := range map[string]string{
		`</v2/a/tags/list?n=2&last=b>; rel="next"`:                      at + "/v2/a/tags/list?n=2&last=b",
		`<?last=b>; rel=next`:                                           at + "/v2/a/tags/list?last=b",
		`<list?last=b>;rel="next"`:                                      at + "/v2/a/tags/list?last=b",
		`<http://registry.example.com:5000/v2/a?x>; rel="next"`:         at + "/v2/a?x", // a proxy ends TLS
		`</v2/a?last=a,b;c>; rel="next"`:                                at + "/v2/a?last=a,b;c",
		`</p>; rel="prev", </n>; rel="next"`:                            at + "/n",
		`</p>; title="a, b; rel=next", </n>; rel="next"`:                at + "/n",
		`</p>; title="</q>; rel=next"; rel=prev, </n>; REL="last NEXT"`: at + "/n",
		`</n>; rel = "next" ; title=x`:                                  at + "/n",
		`</n>; title; rel=next`:                                         at + "/n",
		`</n>; rel=prev; rel=next`:                                      "",
		`</p>; rel="prev"`:                                              "",
		`</style.css>; rel=preload; as=style`:                           "",
		`</n>; rel="next`:                                               at + "/n",
		`</n; rel="next"`:                                               "",
		`</n>`:                                                          "",
		``:                                                              "",
	} {
		got, err := nextPage(current, []string{link})
		if err != nil || got != want {
			t.Errorf("%s: %q, %v", link, got, err)
		}
	}
	for link, is := range map[string]error{
		`<https://example.com/v2/a>; rel="next"`:                  ErrRedirect,
		`<https://registry.example.com/v2/a>; rel="next"`:         ErrRedirect, // another port
		`<//example.com/v2/a>; rel="next"`:                        ErrRedirect,
		`<https://registry.example.com:5000@evil/>; rel="next"`:   ErrRedirect,
		`<mailto:a@registry.example.com:5000>; rel="next"`:        ErrRedirect,
		`<://>; rel="next"`:                                       ErrProtocol,
		"<https://registry.example.com:5000\x7f/a>; rel=\"next\"": ErrProtocol,
	} {
		if got, err := nextPage(current, []string{link}); !errors.Is(err, is) {
			t.Errorf("%s: %q, %v", link, got, err)
		}
	}
}

func FuzzNextPage(f *testing.F) {
	for _, s := range []string{`</v2/a?n=1&last=b>; rel="next"`, `<?x>;rel=next, </b>; title="a,b"`, `<//h:1/x>; rel=next`, `<#>; rel="next last"`, "<;>,;=\""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, link string) {
		current := &url.URL{Scheme: "https", Host: "h:1", Path: "/v2/a/tags/list"}
		next, err := nextPage(current, []string{link})
		if err != nil || next == "" {
			return
		}
		u, err := url.Parse(next)
		if err != nil || u.Scheme != "https" || u.Host != "h:1" || u.User != nil || len(next) > 4*maxLink {
			t.Fatalf("%q leads to %q, %v", link, next, err)
		}
	})
}

func FuzzTagList(f *testing.F) {
	for _, s := range []string{`{"name":"a","tags":["x","y"]}`, `{"name":"a","tags":null}`, `{}`, `[]`, `{"tags":[null]}`, `{"TAGS":["x"]}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tags, err := tagList(b)
		if err != nil && (!errors.Is(err, ErrProtocol) || tags != nil) {
			t.Fatalf("%q: %q, %v", b, tags, err)
		}
		total := 0
		for _, tag := range tags {
			total += len(tag)
		}
		if total > 3*len(b) { // a byte that is not UTF-8 becomes three
			t.Fatalf("%d bytes of tags in %q", total, b)
		}
	})
}
