package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
)

// Tags yields the repository's tags as their pages arrive. Names that no tag can
// have are left out. After an error it yields nothing more.
func (r *Repository) Tags(ctx context.Context) iter.Seq2[string, error] {
	return r.SomeTags(ctx, maxPages+1) // the last of which is an error
}

// SomeTags does the same for so many pages, the first ones.
func (r *Repository) SomeTags(ctx context.Context, pages int) iter.Seq2[string, error] {
	const op = "list tags of"
	path := "/" + r.path() + "/tags/list"
	return func(yield func(string, error) bool) {
		var from *lane // who sent the first page sends them all; nil before that
		list := pager[string]{
			op: op, ref: r.name, first: afterIn(path, ""),
			after: func(last string) string { return afterIn(path, last) }, key: itself,
			fetch: func(ctx context.Context, target string) ([]string, string, error) {
				return r.tagsPage(ctx, op, &from, target)
			},
		}
		for tag, err := range list.entries(ctx, pages) {
			if err != nil {
				yield("", err)
				return
			}
			if ValidTag(tag) && !yield(tag, nil) {
				return
			}
		}
	}
}

// tagsPage fetches one page, and where the next one is. The first comes from anyone
// who may be asked for it, who is from then.
func (r *Repository) tagsPage(ctx context.Context, op string, from **lane, target string) (names []string, next string, err error) {
	if *from != nil {
		names, next, err = (*from).namesPage(ctx, op, r.name, target, tagList)
		if err != nil && ctx.Err() == nil {
			(*from).failed(err) // whoever asks for the list anew, asks the next one
		}
		return names, next, err
	}
	err = r.ask(ctx, resolve, op, r.name, func(l *lane) error {
		*from = l
		names, next, err = l.namesPage(ctx, op, r.name, target, tagList)
		return err
	})
	return names, next, err
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
