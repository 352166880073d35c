package tree

import (
	"context"
	"fmt"
	iofs "io/fs"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

// An absence is a reason why a name does not exist although the reference does.
// It is io/fs.ErrNotExist as well.
type absence string

func (a absence) Error() string        { return string(a) }
func (a absence) Is(target error) bool { return target == iofs.ErrNotExist }

const (
	// ErrNoPlatform is why the resolved files of an index are absent.
	ErrNoPlatform absence = "no image for the platform"
	// ErrNotImage is why an artifact has no image.tar.
	ErrNotImage absence = "not a container image"
	// ErrNever is why a name is not in an image: it never will be.
	ErrNever absence = "no such file in the image"
)

// A Platform is an operating system and a CPU, as "linux/arm/v7", and maybe a version
// of the system, as "windows(10.0.17763)/amd64". The zero
// Platform is this machine's, with linux where the machine runs something else:
// containers there run in a linux guest.
type Platform struct{ spec ocispec.Platform }

// ParsePlatform parses os[(version)]/arch[/variant].
func ParsePlatform(s string) (Platform, error) {
	if strings.Count(s, "/") < 1 {
		return Platform{}, fmt.Errorf("platform %q: want os/arch or os/arch/variant, as in linux/arm64", s)
	}
	spec, err := platforms.Parse(s)
	if err != nil {
		return Platform{}, fmt.Errorf("platform %q: want os/arch or os/arch/variant, as in linux/arm64: %w", s, err)
	}
	return Platform{platforms.Normalize(spec)}, nil
}

// wanted is the platform with the machine's own in place of none.
func (p Platform) wanted() ocispec.Platform {
	if p.spec.OS != "" {
		return p.spec
	}
	spec := platforms.Normalize(platforms.DefaultSpec())
	if spec.OS != "linux" {
		spec = platforms.Normalize(ocispec.Platform{OS: "linux", Architecture: spec.Architecture, Variant: spec.Variant})
	}
	return spec
}

// String is the platform in the form that ParsePlatform takes.
func (p Platform) String() string { return platforms.FormatAll(p.wanted()) }

// Select returns the descriptor of the image that an index has for the
// platform: of those with the same operating system and architecture the best
// by containerd's order of variants, the first of equals. Where there is none
// the error is [ErrNoPlatform] and says which there are. An index inside the
// index is not looked into.
func (p Platform) Select(index []byte) (v1.Descriptor, error) {
	x, err := parseIndex(index)
	if err != nil {
		return v1.Descriptor{}, err
	}
	best, _ := p.choose(x)
	if best >= 0 {
		return x.entries[best].descriptor()
	}
	there := x.there()
	switch {
	case there == nil:
		return v1.Descriptor{}, fmt.Errorf("%w %s: the index names no platform at all", ErrNoPlatform, p)
	case len(there) > maxNamed:
		there = append(there[:maxNamed], fmt.Sprintf("%d more", len(there)-maxNamed))
	}
	return v1.Descriptor{}, fmt.Errorf("%w %s: there are %s", ErrNoPlatform, p, strings.Join(there, ", "))
}

// there is what an index has images for, each once, as ParsePlatform takes it.
func (x *index) there() []string {
	var there []string
	listed := map[string]bool{}
	for n, e := range x.entries {
		spec, ok := e.spec()
		name := platforms.FormatAll(spec)
		switch {
		case !ok && x.names[n] == "":
			continue
		case !ok:
			name = x.names[n] + " (an index of no platform)"
		case isIndex(e.MediaType):
			name += " (an index)"
		}
		if !listed[name] {
			listed[name] = true
			there = append(there, name)
		}
	}
	return there
}

// choose returns the position of the entry that Select takes, -1 for none, and for
// each entry why it is not taken; "" for the one that is.
func (p Platform) choose(x *index) (best int, refused []string) {
	wanted := p.wanted()
	matcher := platforms.Only(wanted)
	best = -1
	var bestSpec ocispec.Platform
	refused = make([]string, len(x.entries))
	for n, e := range x.entries {
		spec, ok := e.spec()
		switch {
		case e.attested() != "":
			refused[n] = "an attestation"
		case isIndex(e.MediaType):
			refused[n] = "an index, which is not looked into"
		case !ok:
			refused[n] = "of no platform"
		case spec.OS != wanted.OS:
			refused[n] = "another operating system"
		case spec.Architecture != wanted.Architecture:
			// Only lets amd64 run 386 and arm64 run arm; a user who did not ask for
			// that must not get it.
			refused[n] = "another architecture"
		case !matcher.Match(spec) || !isVersion(wanted.OSVersion, spec.OSVersion):
			refused[n] = "a variant or version that is not for this platform"
		case best >= 0 && !matcher.Less(spec, bestSpec):
			refused[n] = "another one is as good, or better"
		default:
			if best >= 0 {
				refused[best] = "another one is better"
			}
			best, bestSpec = n, spec
		}
	}
	return best, refused
}

// isVersion says whether a version of a system is the one wanted, or a release of it:
// 10.0.17763.1 is one of 10.0.17763. Any is where none is wanted. (Elsewhere than on
// Windows containerd's matchers do not look at it.)
func isVersion(wanted, there string) bool {
	return wanted == "" || there == wanted || strings.HasPrefix(there, wanted+".")
}

// Resolve returns the manifest that m, of a repository, stands for on the
// platform: m itself where it is no index, else that of the digest which Select
// finds in it, as fetch returns it. Where fetch says that the registry does not
// have that, the error is [ErrNoPlatform] too.
func (p Platform) Resolve(ctx context.Context, repository string, m cache.Manifest, fetch func(context.Context, registry.Digest) (cache.Manifest, error)) (cache.Manifest, error) {
	if !isIndex(mediaType(m)) {
		return m, nil
	}
	d, err := p.Select(m.Bytes)
	if err != nil {
		return cache.Manifest{}, fmt.Errorf("%s@%s: %w", repository, m.Digest, err)
	}
	resolved, err := fetch(ctx, d.Digest)
	if isAbsent(err) {
		// Some copy an index with the images of a few platforms only.
		err = fmt.Errorf("%w %s: the index names it, the registry does not have it: %w", ErrNoPlatform, p, err)
	}
	if err != nil {
		return cache.Manifest{}, err
	}
	return resolved, checkSize(repository, d, resolved)
}

// checkSize is [registry.ErrMismatch] where a manifest is not as long as the index
// says that names it.
func checkSize(repository string, d v1.Descriptor, m cache.Manifest) error {
	if int64(len(m.Bytes)) != d.Size {
		return fmt.Errorf("%s@%s: %d bytes, the index says %d: %w", repository, d.Digest, len(m.Bytes), d.Size, registry.ErrMismatch)
	}
	return nil
}

// maxNamed is how many platforms an error names.
const maxNamed = 32
