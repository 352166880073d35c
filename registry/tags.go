package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strings"
)

const (
	// tagsPerPage is what is asked for; registries send fewer as they like.
	tagsPerPage = 1000
	// maxPages and maxPage end a list that has no end.
	maxPages = 10_000
	maxPage  = 8 << 20
)

// Tags yields the repository's tags as their pages arrive. Names that no tag can
// have are left out. After an error it yields nothing more.
func (r *Repository) Tags(ctx context.Context) iter.Seq2[string, error] {
	const op = "list tags of"
	return func(yield func(string, error) bool) {
		seen := map[string]bool{}
		next := fmt.Sprintf("/v2/%s/tags/list?n=%d", r.path(), tagsPerPage)
		for next != "" {
			if seen[next] || len(seen) == maxPages {
				yield("", wrap(op, r.name, fmt.Errorf("%w: its pages have no end", ErrProtocol)))
				return
			}
			seen[next] = true
			names, following, err := r.page(ctx, op, next)
			if err != nil {
				yield("", err)
				return
			}
			for _, tag := range names {
				if ValidTag(tag) && !yield(tag, nil) {
					return
				}
			}
			next = following
		}
	}
}

// page fetches one page, and where the next one is.
func (r *Repository) page(ctx context.Context, op, target string) (names []string, next string, err error) {
	resp, err := r.do(ctx, op, r.name, http.MethodGet, target, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, "", err
	}
	defer closeBody(resp)
	if resp.StatusCode != http.StatusOK {
		return nil, "", answerError(op, r.name, resp)
	}
	b, err := readLimited(resp.Body, maxPage)
	if err != nil {
		return nil, "", wrap(op, r.name, err)
	}
	var document struct {
		Tags []string `json:"tags"`
	}
	if err := json.Unmarshal(b, &document); err != nil {
		return nil, "", wrap(op, r.name, fmt.Errorf("%w: %w", ErrProtocol, err))
	}
	next, err = nextPage(resp.Request.URL, resp.Header.Values("Link"))
	if err != nil {
		return nil, "", wrap(op, r.name, err)
	}
	return document.Tags, next, nil
}

// nextPage returns the target of the link to the next page (RFC 8288), as a
// path: it must lead to the registry that sent it. It is "" on the last page.
func nextPage(current *url.URL, links []string) (string, error) {
	for _, header := range links {
		for link := range strings.SplitSeq(header, ",") {
			target, parameters, ok := strings.Cut(strings.TrimSpace(link), ">")
			if !ok || !strings.HasPrefix(target, "<") || !isNext(parameters) {
				continue
			}
			u, err := current.Parse(target[1:])
			if err != nil {
				return "", fmt.Errorf("%w: link to the next page: %w", ErrProtocol, err)
			}
			if u.Host != current.Host {
				return "", fmt.Errorf("%w: the next page is on %s", ErrRedirect, u.Host)
			}
			return u.RequestURI(), nil
		}
	}
	return "", nil
}

func isNext(parameters string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		key, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(key, "rel") && strings.EqualFold(strings.Trim(value, `"`), "next") {
			return true
		}
	}
	return false
}
