package tree

import (
	"context"
	"fmt"
	iofs "io/fs"
	"time"

	"github.com/ocidistfs/ocidistfs/registry"
)

// An origin is what the directories of an image have in its place: what a tag
// means, and with it all that is below, may be another image at each look.
type origin interface {
	// image returns the image, and for how long that is right.
	image(ctx context.Context) (*Image, time.Duration, error)
	// version is the same as long as the image is, where that is known without a
	// request.
	version() (string, bool)
	// seen is when the image was first seen, as far as memory knows, and for how
	// long that stands.
	seen() (time.Time, time.Duration)
	// fleeting says whether it may be another image later.
	fleeting() bool
	// forget makes it ask anew, where it is fleeting.
	forget()
}

// byTag is what a tag means now.
type byTag struct {
	repo *repository
	tag  string
}

var _ origin = byTag{}

func (o byTag) image(ctx context.Context) (*Image, time.Duration, error) {
	answer, err := o.repo.resolve(ctx, o.tag)
	if err != nil {
		return nil, 0, err
	}
	return &Image{repo: o.repo, tag: o.tag, manifest: answer.manifest}, o.repo.tree.left(answer.until), nil
}

func (o byTag) version() (string, bool) {
	answer, ok := o.repo.fresh(o.tag)
	return answer.manifest.Digest.String(), ok
}

func (o byTag) seen() (time.Time, time.Duration) { return o.repo.seen(o.tag) }

func (o byTag) fleeting() bool { return true }

func (o byTag) forget() {
	o.repo.tree.refresh(scope{repository: o.repo.name(), tag: o.tag})
	if record, ok := o.repo.record(o.tag); ok {
		o.repo.refreshReferrers(record.Digest)
	}
}

// byDigest is the image of a digest: it never changes. It does not hold the
// manifest, since a kernel may hold on to any number of directories.
type byDigest struct {
	repo   *repository
	tag    string // names the image; "" where nothing does
	digest registry.Digest
	first  time.Time // when it was first seen; the zero time where it may not have been
	depth  int       // in how many indexes it is taken to be
}

var _ origin = byDigest{}

func (o byDigest) image(ctx context.Context) (*Image, time.Duration, error) {
	m, err := o.repo.manifest(ctx, o.digest)
	if err != nil {
		return nil, 0, err
	}
	return &Image{repo: o.repo, tag: o.tag, manifest: m, pinned: true}, Forever, nil
}

func (o byDigest) version() (string, bool) { return o.digest.String(), true }

func (o byDigest) seen() (time.Time, time.Duration) {
	if !o.first.IsZero() {
		return o.first, Forever
	}
	if m, ok := o.repo.tree.manifests.get(manifestKey{o.repo.name(), o.digest}); ok {
		return m.FirstSeen, Forever
	}
	return o.repo.tree.started, 0
}

func (o byDigest) fleeting() bool { return false }
func (o byDigest) forget()        {}

// byPlatform is one image of an index, by the name that it has in platforms/.
type byPlatform struct {
	index origin
	name  string
}

var _ origin = byPlatform{}

func (o byPlatform) image(ctx context.Context) (*Image, time.Duration, error) {
	i, lifetime, err := o.index.image(ctx)
	if err != nil {
		return nil, 0, err
	}
	entries, err := i.index()
	if err != nil {
		return nil, 0, err
	}
	e, err := entries.named(o.name)
	if err != nil {
		return nil, 0, err
	}
	m, err := i.repo.entry(ctx, i.manifest, e)
	if err != nil {
		return nil, 0, err
	}
	if isIndex(mediaType(m)) && depth(o) > maxDepth { // the entry said that it was none
		return nil, 0, fmt.Errorf("%s@%s: an index in %d others: %w", i.repo.name(), m.Digest, depth(o), iofs.ErrNotExist)
	}
	own := i.own
	if spec, ok := e.spec(); ok {
		own = Platform{spec}
	}
	return &Image{repo: i.repo, tag: i.tag, manifest: m, parent: i.manifest, pinned: i.pinned, own: own}, lifetime, nil
}

func (o byPlatform) version() (string, bool)          { return o.index.version() }
func (o byPlatform) seen() (time.Time, time.Duration) { return o.index.seen() }
func (o byPlatform) fleeting() bool                   { return o.index.fleeting() }
func (o byPlatform) forget()                          { o.index.forget() }

// depth is in how many indexes an origin is.
func depth(o origin) int {
	switch o := o.(type) {
	case byPlatform:
		return depth(o.index) + 1
	case byDigest:
		return o.depth
	}
	return 0
}
