package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
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
	// perPage is how many names are asked for; registries send fewer as they like.
	perPage = 1000
	// maxPages, maxPage and maxLink end a list that has no end.
	maxPages = 10_000
	maxPage  = 8 << 20
	maxLink  = 8 << 10
	// maxNames is how many there may be in one page: of nothing, such as null, millions
	// fit into it, which take twenty times their room in memory.
	maxNames = 1_000_000
)

// A pager goes through a list that comes by pages.
type pager[T any] struct {
	op, ref string
	// first is where the first page is.
	first string
	// fetch returns a page, and where the next one is; "" where it is the last.
	fetch func(ctx context.Context, target string) (entries []T, next string, err error)
	// after is where the entries after one are, and key what that is told by. Mostly
	// a page says itself where the next is. But one as long as was asked for may be
	// cut without a word, as go-containerregistry's registry and what is built on it
	// do. Nil asks for nothing that no page names.
	after func(last string) string
	key   func(T) string
}

// entries yields what the first so many pages have, as they arrive. After an error
// it yields nothing more.
func (p pager[T]) entries(ctx context.Context, pages int) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		seen := map[[sha256.Size]byte]bool{} // of ten thousand pages, whose addresses may be long
		var first, last string               // of all that came
		guessed := false
		next := p.first
		for next != "" && len(seen) < pages {
			page := strings.TrimPrefix(next, "/") // the first is asked for by path
			if _, path, ok := strings.Cut(next, "/v2/"); ok {
				page = path
			}
			address := sha256.Sum256([]byte(page))
			if seen[address] || len(seen) == maxPages {
				yield(none, wrap(p.op, p.ref, fmt.Errorf("%w: its pages have no end", ErrProtocol)))
				return
			}
			seen[address] = true
			entries, following, err := p.fetch(ctx, next)
			if err != nil && len(seen) > 1 && errors.Is(err, iofs.ErrNotExist) {
				// It exists: its first page came.
				err = &Error{Op: p.op, Ref: p.ref, Err: fmt.Errorf("%w: page %d: %s", ErrProtocol, len(seen), http.StatusText(http.StatusNotFound))}
			}
			if err != nil {
				yield(none, err)
				return
			}
			if guessed && slices.ContainsFunc(entries, func(e T) bool { return p.key(e) == first || p.key(e) == last }) {
				return // it does not know what "after" means: all came already
			}
			for _, e := range entries {
				if !yield(e, nil) {
					return
				}
			}
			next, guessed = following, false
			if p.after == nil || len(entries) == 0 {
				continue
			}
			if first == "" {
				first = p.key(entries[0])
			}
			if next == "" && len(entries) == perPage {
				last = p.key(entries[len(entries)-1])
				next, guessed = p.after(last), true
			}
		}
	}
}

// afterIn is where the names after one are in the list at a path, or, after "",
// all of them.
func afterIn(path, last string) string {
	query := url.Values{"n": {strconv.Itoa(perPage)}}
	if last != "" {
		query.Set("last", last)
	}
	return path + "?" + query.Encode()
}

// itself is the key of a name.
func itself(name string) string { return name }

// namesPage fetches one page of names, and where the next one is.
func (l *lane) namesPage(ctx context.Context, op, ref, target string, parse func([]byte) ([]string, error)) (names []string, next string, err error) {
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
	if bytes.Count(b, []byte(",")) > maxNames {
		return nil, "", wrap(op, ref, fmt.Errorf("%w: a page of more than a million names", ErrTooLarge))
	}
	names, err = parse(b)
	if err != nil {
		return nil, "", wrap(op, ref, err)
	}
	next, err = nextPage(resp.Request.URL, resp.Header.Values("Link"))
	if err != nil {
		return nil, "", wrap(op, ref, err)
	}
	return names, next, nil
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
