package tree

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/ocidistfs/ocidistfs/registry"
)

const (
	// noCatalogFor is how long a registry is not asked for its catalog again that has
	// none, or none for us. Those of most people say so each time.
	noCatalogFor = time.Hour
	// defaultCatalogWait is how long a listing waits for the next names of a catalog,
	// which is a convenience: what was used is listed without it.
	defaultCatalogWait = 10 * time.Second
)

// errNoCatalog is a catalog without names: those who may not see what there is get
// that from some registries.
var errNoCatalog = errors.New("the catalog is empty")

// catalog yields the repositories of a host, without it, that are called as a path or
// lie below it, one at least for each name that is directly below. It costs a
// request where there is no list that is good. That there is no catalog is no error,
// and what kept it from coming is reported: the error is why ctx ended.
func (t *Tree) catalog(ctx context.Context, host, path string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if t.opts.Offline || t.pacer.shuts(ctx) && !t.hasCatalog(host) {
			return
		}
		list, err := t.list(host, t.isGoodCatalog, func(ctx context.Context, list *nameList) { t.fillCatalog(ctx, host, list) })
		if err != nil {
			yield("", err)
			return
		}
		defer t.lists.leave(list)
		each := func(name string) bool { return yield(name, nil) }
		if sorted, ended := list.inOrder(); ended {
			below(sorted, path, each)
			return
		}
		patience := t.catalogWait
		if list.isLate() {
			patience = atOnce // somebody waited already
		}
		err = list.follow(ctx, 0, patience, func(name string) bool {
			if path != "" && name != path && !strings.HasPrefix(name, path+"/") {
				return true
			}
			return each(name)
		})
		switch {
		case ctx.Err() != nil:
			yield("", context.Cause(ctx))
		case errors.Is(err, errTooSlow) && list.late():
			t.opts.Report(host, fmt.Errorf("list repositories of %s: %w", host, err))
		}
	}
}

// isGoodCatalog says whether a list of repositories may still be used. One that failed
// is for longer than a list of tags: there is what was used, and nobody wants to wait
// for a dead host each time that he looks at it.
func (t *Tree) isGoodCatalog(list *nameList) bool {
	at, err, none := list.outcome()
	switch {
	case none:
		return within(at, t.now(), noCatalogFor)
	case err != nil:
		return within(at, t.now(), staleFor)
	}
	return list.good(t.now(), t.opts.ListTTL)
}

// hasCatalog says whether there is a list of repositories that costs no request.
func (t *Tree) hasCatalog(host string) bool {
	list, ok := t.lists.get(host)
	return ok && t.isGoodCatalog(list)
}

// outcome is when a list ended and what ended it early, and whether that is the
// registry's word that it has no catalog, or none for us.
func (l *nameList) outcome() (at time.Time, err error, none bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.endAt, l.err, l.ended && len(l.names) == 0 && saysNoCatalog(l.err)
}

// late takes note that somebody waited for a list in vain, and says whether he is the
// first.
func (l *nameList) late() (first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	first = !l.tooLate
	l.tooLate = true
	return first
}

func (l *nameList) isLate() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tooLate
}

// saysNoCatalog says whether that is what an error means.
func saysNoCatalog(err error) bool {
	var answered *registry.Error
	if errors.As(err, &answered) && answered.Status == 501 { // not implemented
		return true
	}
	return errors.Is(err, errNoCatalog) || isAnswer(err)
}

// fillCatalog fills a list, and reports what keeps it from being whole.
func (t *Tree) fillCatalog(ctx context.Context, host string, list *nameList) {
	err := t.fill(list, "repositories of "+host, t.opts.Client.Catalog(ctx, host))
	names, _, _ := list.after(0)
	if err == nil && len(names) == 0 {
		err = errNoCatalog
	}
	if err != nil && (len(names) > 0 || !saysNoCatalog(err)) && ctx.Err() == nil {
		t.opts.Report(host, err)
	}
	t.endList(list, err)
}
