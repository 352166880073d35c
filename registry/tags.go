package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

const (
	// tagsPerPage is what is asked for; registries send fewer as they like.
	tagsPerPage = 1000
	// maxPages, maxPage and maxLink end a list that has no end.
	maxPages = 10_000
	maxPage  = 8 << 20
	maxLink  = 8 << 10
)

// Tags yields the repository's tags as their pages arrive. Names that no tag can
// have are left out. After an error it yields nothing more.
func (r *Repository) Tags(ctx context.Context) iter.Seq2[string, error] {
	return r.SomeTags(ctx, maxPages+1) // the last of which is an error
}

// SomeTags does the same for so many pages, the first ones.
func (r *Repository) SomeTags(ctx context.Context, pages int) iter.Seq2[string, error] {
	const op = "list tags of"
	return func(yield func(string, error) bool) {
		seen := map[string]bool{}
		var first, last string // of all that came
		guessed := false
		var from *lane // who sent the first page sends them all; nil before that
		next := r.pageAfter("")
		for next != "" && len(seen) < pages {
			page := strings.TrimPrefix(next, "/") // the first is asked for by path
			if _, path, ok := strings.Cut(next, "/v2/"); ok {
				page = path
			}
			if seen[page] || len(seen) == maxPages {
				yield("", wrap(op, r.name, fmt.Errorf("%w: its pages have no end", ErrProtocol)))
				return
			}
			seen[page] = true
			names, following, err := r.page(ctx, op, &from, next)
			if err != nil && len(seen) > 1 && errors.Is(err, iofs.ErrNotExist) {
				// It exists: its first page came.
				err = &Error{Op: op, Ref: r.name, Err: fmt.Errorf("%w: page %d: %s", ErrProtocol, len(seen), http.StatusText(http.StatusNotFound))}
			}
			if err != nil {
				yield("", err)
				return
			}
			if guessed && (slices.Contains(names, first) || slices.Contains(names, last)) {
				return // it does not know what "after" means: all came already
			}
			for _, tag := range names {
				if ValidTag(tag) && !yield(tag, nil) {
					return
				}
			}
			if first == "" && len(names) > 0 {
				first = names[0]
			}
			next, guessed = following, false
			if next == "" && len(names) == tagsPerPage {
				last = names[len(names)-1]
				next, guessed = r.pageAfter(last), true
			}
		}
	}
}

// pageAfter is where the tags after one are, or, after "", all. Mostly a page says
// itself where the next is. But one as long as was asked for may be cut without a
// word, as go-containerregistry's registry and what is built on it do.
func (r *Repository) pageAfter(last string) string {
	query := url.Values{"n": {strconv.Itoa(tagsPerPage)}}
	if last != "" {
		query.Set("last", last)
	}
	return "/" + r.path() + "/tags/list?" + query.Encode()
}

// page fetches one page, and where the next one is. The first comes from anyone who
// may be asked for it, who is from then.
func (r *Repository) page(ctx context.Context, op string, from **lane, target string) (names []string, next string, err error) {
	if *from != nil {
		names, next, err = (*from).page(ctx, op, r.name, target)
		if err != nil && ctx.Err() == nil {
			(*from).failed(err) // whoever asks for the list anew, asks the next one
		}
		return names, next, err
	}
	err = r.ask(ctx, resolve, op, r.name, func(l *lane) error {
		*from = l
		names, next, err = l.page(ctx, op, r.name, target)
		return err
	})
	return names, next, err
}

func (l *lane) page(ctx context.Context, op, ref, target string) (names []string, next string, err error) {
	resp, err := l.do(ctx, op, ref, question{
		method: http.MethodGet, target: target, header: http.Header{"Accept": {"application/json"}},
	})
	if err != nil {
		return nil, "", err
	}
	defer closeBody(resp)
	if resp.StatusCode != http.StatusOK {
		return nil, "", l.refused(op, ref, resp)
	}
	b, err := readLimited(resp, maxPage)
	if err != nil {
		return nil, "", wrap(op, ref, err)
	}
	names, err = tagList(b)
	if err != nil {
		return nil, "", wrap(op, ref, err)
	}
	next, err = nextPage(resp.Request.URL, resp.Header.Values("Link"))
	if err != nil {
		return nil, "", wrap(op, ref, err)
	}
	return names, next, nil
}

// tagList parses a page (distribution spec, "Listing Tags"). What has neither a
// name nor tags is no empty list.
func tagList(b []byte) ([]string, error) {
	var document struct {
		Name *string  `json:"name"`
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(b, &document); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if document.Name == nil && document.Tags == nil {
		return nil, fmt.Errorf("%w: not a list of tags", ErrProtocol)
	}
	return document.Tags, nil
}

// nextPage returns the address of the next page (RFC 8288), which is on the host
// that sent this one, or "" on the last page. The scheme stays as it is: a
// registry behind a proxy that ends TLS does not know its own.
func nextPage(current *url.URL, links []string) (string, error) {
	for _, header := range links {
		for target, rel := range relations(header) {
			if !slices.ContainsFunc(strings.Fields(rel), func(s string) bool { return strings.EqualFold(s, "next") }) {
				continue
			}
			u, err := current.Parse(target)
			switch {
			case err != nil || len(target) > maxLink:
				return "", fmt.Errorf("%w: link to the next page: %.80q", ErrProtocol, target)
			case u.Host != current.Host:
				return "", fmt.Errorf("%w: the next page is on %s", ErrRedirect, u.Host)
			}
			return (&url.URL{Scheme: current.Scheme, Host: u.Host}).String() + u.RequestURI(), nil
		}
	}
	return "", nil
}

// relations yields the target and relation types of each link in a Link header,
// as far as it can be understood. Commas and semicolons also stand in targets
// and in quotes.
func relations(header string) iter.Seq2[string, string] {
	return func(yield func(target, rel string) bool) {
		for {
			_, rest, ok := strings.Cut(header, "<")
			target, rest, closed := strings.Cut(rest, ">")
			if !ok || !closed {
				return
			}
			rel, hasRel := "", false
			for {
				rest = strings.TrimLeft(rest, " \t")
				if !strings.HasPrefix(rest, ";") {
					break
				}
				var key, value string
				key, value, rest = parameter(rest[1:])
				if !hasRel && strings.EqualFold(key, "rel") { // the first counts
					rel, hasRel = value, true
				}
			}
			if !yield(strings.TrimSpace(target), rel) {
				return
			}
			header = rest
		}
	}
}

// parameter cuts `key=value` or `key="value"` off s.
func parameter(s string) (key, value, rest string) {
	i := strings.IndexAny(s, "=;,")
	if i < 0 {
		return strings.TrimSpace(s), "", ""
	}
	key, rest = strings.TrimSpace(s[:i]), s[i:]
	if rest[0] != '=' {
		return key, "", rest
	}
	rest = strings.TrimLeft(rest[1:], " \t")
	if strings.HasPrefix(rest, `"`) {
		value, rest, _ = strings.Cut(rest[1:], `"`)
		return key, value, rest
	}
	if i = strings.IndexAny(rest, ";,"); i < 0 {
		i = len(rest)
	}
	return key, strings.TrimSpace(rest[:i]), rest[i:]
}
