package tree

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

// referrersTag are the tags that stand for what refers to an image: the list of the
// referrers tag schema (distribution spec), and what cosign and others make of it.
var referrersTag = regexp.MustCompile(`^sha256-[0-9a-f]{64}(\.[a-zA-Z0-9_-]{1,16})?$`)

// IsReferrersTag says whether a tag is one of those, which people do not look for by
// name.
func IsReferrersTag(tag string) bool {
	return strings.HasPrefix(tag, "sha256-") && referrersTag.MatchString(tag) // of a hundred thousand, few begin so
}

// cosignKinds are what cosign tags for an image by the end of the tag (cosign's
// pkg/oci/remote, "attachments").
var cosignKinds = []string{"sig", "att", "sbom"}

func cosignTag(d registry.Digest, kind string) string {
	return registry.ReferrersTag(d) + "." + kind
}

// referrers returns what refers to a digest, in the order of kinds and digests, each
// digest once, and until when that is good: for the TTL of lists. It is what the
// referrers API lists, or the tag for those who have none, and what cosign's tags
// name. Where the registry fails it is what it was, as a tag is.
func (r *repository) referrers(ctx context.Context, d registry.Digest) ([]cache.Referrer, time.Time, error) {
	if known, until, ok := r.referrersAtHand(d); ok {
		return known, until, nil
	}
	before, known := r.referrersRecord(d)
	if r.tree.opts.Offline {
		if !known {
			return nil, time.Time{}, fmt.Errorf("list referrers of %s@%s: %w", r.name(), d, ErrOffline)
		}
		return before.Found, r.tree.now().Add(r.tree.opts.ListTTL), nil
	}
	if err := r.tree.pacer.admit(ctx, known); err != nil {
		if known {
			return before.Found, r.tree.now().Add(r.tree.opts.ListTTL), nil
		}
		return nil, time.Time{}, fmt.Errorf("list referrers of %s@%s: %w", r.name(), d, err)
	}
	soon, cancel := ctx, context.CancelFunc(func() {})
	if r.referrersServable(before) {
		soon, cancel = context.WithTimeoutCause(ctx, r.tree.staleWait, errTooSlow)
	}
	defer cancel()
	answer, err := r.tree.flights.ask(soon, r.name()+":"+referrersQuestion(d), func(ctx context.Context) (resolution, error) {
		if known, until, ok := r.referrersAtHand(d); ok {
			return resolution{referrers: known, until: until}, nil
		}
		asked := r.tree.now()
		found, err := r.askReferrers(ctx, d)
		if err != nil {
			if known, until, ok := r.referrersFailing(d, before, err); ok {
				return resolution{referrers: known, until: until}, nil
			}
			return resolution{}, err
		}
		record := cache.Referrers{Found: found, Asked: r.tree.now()}
		if r.refreshed(referrersQuestion(d), asked) {
			record.Asked = asked // the answer is from before
		}
		r.tree.referrers.put(r.name(), d, knownReferrers{Referrers: record})
		r.reportLocal("digests/"+d.String(), r.local.PutReferrers(d, record))
		until := record.Asked
		if r.referrersCurrent(d, record) {
			until = until.Add(r.tree.opts.ListTTL)
		}
		return resolution{referrers: found, until: until}, nil
	})
	if errors.Is(err, errTooSlow) {
		// The request goes on: what it brings is there for those who come later.
		if known, until, ok := r.referrersFailing(d, before, err); ok {
			return known, until, nil
		}
	}
	return answer.referrers, answer.until, err
}

// referrersQuestion is by what the question for the referrers of a digest is known
// among those for tags, which is good for a while as well: no tag has a space.
// A refresh of [registry.ReferrersTag] is one of it too.
func referrersQuestion(d registry.Digest) string { return registry.ReferrersTag(d) + " referrers" }

// askReferrers asks the registry. A list of tags that is at hand spares the requests
// for those that it does not have.
func (r *repository) askReferrers(ctx context.Context, d registry.Digest) ([]cache.Referrer, error) {
	var byTag [3]resolution
	var errs [3]error
	var all sync.WaitGroup
	for i, kind := range cosignKinds {
		tag := cosignTag(d, kind)
		if r.unlisted(tag) {
			continue
		}
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("%s:%s: panic: %v", r.name(), tag, p)
				}
			}()
			byTag[i], errs[i] = r.resolve(ctx, tag)
			if isAbsent(errs[i]) {
				byTag[i], errs[i] = resolution{}, nil
			}
		})
	}
	listed, err := r.remote.Referrers(ctx, d)
	all.Wait()
	if err := cmp.Or(err, errs[0], errs[1], errs[2]); err != nil {
		return nil, err
	}
	found := make([]cache.Referrer, 0, len(listed))
	seen := map[registry.Digest]bool{}
	add := func(d registry.Digest, kind string) {
		if !seen[d] {
			seen[d] = true
			found = append(found, cache.Referrer{Digest: d, Kind: kind})
		}
	}
	for _, one := range listed {
		add(one.Digest, kindOf(one.ArtifactType))
	}
	for i, kind := range cosignKinds {
		if d := byTag[i].manifest.Digest; d != (registry.Digest{}) {
			add(d, "cosign."+kind)
		}
	}
	slices.SortFunc(found, func(a, b cache.Referrer) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Digest.Hex, b.Digest.Hex))
	})
	return found, nil
}

// maxKind bounds the name of a kind, in bytes.
const maxKind = 128

// kindOf is a file name for an artifact type, which is whatever somebody wrote.
// Several types may have one.
func kindOf(artifactType string) string {
	if artifactType == "" {
		return "unknown"
	}
	kind := []byte(artifactType[:min(len(artifactType), maxKind)])
	for i, c := range kind {
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if !letter && !strings.ContainsRune(".+_-", rune(c)) || i == 0 && (c == '.' || c == '-') {
			kind[i] = '_'
		}
	}
	return string(kind)
}

// referrersAtHand returns what refers to a digest where nobody has to be asked now.
func (r *repository) referrersAtHand(d registry.Digest) (found []cache.Referrer, until time.Time, ok bool) {
	record, ok := r.referrersRecord(d)
	if ok && r.referrersCurrent(d, record) {
		return record.Found, record.Asked.Add(r.tree.opts.ListTTL), true
	}
	known, ok := r.tree.referrers.get(r.name(), d)
	if ok && within(known.failed, r.tree.now(), staleFor) && r.referrersServable(known.Referrers) && !r.refreshed(referrersQuestion(d), known.failed) {
		return known.Found, known.failed.Add(staleFor), true
	}
	return nil, time.Time{}, false
}

// referrersRecord returns what referred to a digest when that was asked last, by this
// process or another that has the same store.
func (r *repository) referrersRecord(d registry.Digest) (cache.Referrers, bool) {
	known, ok := r.tree.referrers.get(r.name(), d)
	if ok && r.referrersCurrent(d, known.Referrers) {
		return known.Referrers, true
	}
	stored, err := r.local.Referrers(d)
	if err != nil {
		r.reportLocal("digests/"+d.String(), err)
		return known.Referrers, ok
	}
	if ok && !stored.Asked.After(known.Asked) {
		return known.Referrers, true
	}
	r.tree.referrers.put(r.name(), d, knownReferrers{Referrers: stored})
	return stored, true
}

// referrersCurrent says whether a record answers without a request.
func (r *repository) referrersCurrent(d registry.Digest, record cache.Referrers) bool {
	return within(record.Asked, r.tree.now(), r.tree.opts.ListTTL) && !r.refreshed(referrersQuestion(d), record.Asked)
}

// referrersServable says whether a record is young enough to answer in place of a
// registry that fails. The zero one never is.
func (r *repository) referrersServable(record cache.Referrers) bool {
	return within(record.Asked, r.tree.now(), r.tree.opts.StaleIfError)
}

// referrersFailing returns what referred to a digest last, where that may answer in
// place of err. It is told in the log when it begins.
func (r *repository) referrersFailing(d registry.Digest, record cache.Referrers, err error) (found []cache.Referrer, until time.Time, ok bool) {
	if isAnswer(err) || errors.Is(err, errClosed) || !r.referrersServable(record) {
		return nil, time.Time{}, false
	}
	now := r.tree.now()
	before, _ := r.tree.referrers.get(r.name(), d)
	if before.Asked.After(record.Asked) {
		return before.Found, now, true // it came just now
	}
	if before.failed.IsZero() {
		r.tree.opts.Logger.Warn("the registry cannot say what refers to a digest; it is taken for what it was",
			"reference", r.name()+"@"+d.String(), "age", now.Sub(record.Asked).Round(time.Second).String(), "error", err)
	}
	r.tree.referrers.put(r.name(), d, knownReferrers{record, now})
	return record.Found, now.Add(staleFor), true
}
