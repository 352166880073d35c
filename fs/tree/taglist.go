package tree

import (
	"context"
	"errors"
	"iter"
	"time"
)

// tagNames yields the repository's tags, from the list that is under way or
// fresh, else from a new one.
func (r *repository) tagNames(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if r.tree.opts.Offline || r.tree.pacer.shuts(ctx) && !r.hasList() {
			r.keptNames(ctx, yield)
			return
		}
		list, err := r.tree.list(r.name(), r.isGood, r.fill)
		if err != nil {
			yield("", err)
			return
		}
		defer r.tree.lists.leave(list)
		had := 0
		each := func(tag string) bool { had++; return yield(tag, nil) }
		err = list.follow(ctx, 0, r.tree.staleWait, each)
		if errors.Is(err, errTooSlow) && ctx.Err() == nil {
			if had == 0 { // the list goes on, for those who come later
				r.fallBack(list, errTooSlow)
			}
			err = list.follow(ctx, had, 0, each)
		}
		if err != nil {
			yield("", err)
		}
	}
}

// isGood says whether a list of tags may still be used.
func (r *repository) isGood(list *nameList) bool {
	return list.good(r.tree.now(), r.tree.opts.ListTTL)
}

// hasList says whether there is a list that costs no request.
func (r *repository) hasList() bool {
	list, ok := r.tree.lists.get(r.name())
	return ok && r.isGood(list)
}

// listed says whether a fresh list has the tag, and until when that is good.
func (r *repository) listed(tag string) (until time.Time, ok bool) {
	list, ok := r.tree.lists.get(r.name())
	if !ok {
		return time.Time{}, false
	}
	return list.has(tag, r.tree.now(), r.tree.opts.ListTTL)
}

// unlisted says whether a fresh list says that there is no such tag.
func (r *repository) unlisted(tag string) bool {
	list, ok := r.tree.lists.get(r.name())
	return ok && list.lacks(tag, r.tree.now(), r.tree.opts.ListTTL)
}

func (r *repository) fill(ctx context.Context, list *nameList) {
	err := r.tree.fill(list, "tags of "+r.name(), r.remote.Tags(ctx))
	if err == nil {
		r.reportLocal("tags", r.local.Put())
		if list.followsFailure {
			r.tree.opts.Logger.Info("the registry lists its tags again", "repository", r.name())
		}
	} else {
		r.fallBack(list, err)
	}
	r.tree.endList(list, err)
}
