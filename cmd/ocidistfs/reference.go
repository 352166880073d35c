package main

import "github.com/ocidistfs/ocidistfs/registry"

const referenceForm = "<host>[:<port>]/path[:tag][@sha256:hash]"

// parseImage takes a reference that has a tag, a digest or both.
func parseImage(s string) (registry.Reference, error) {
	ref, err := registry.ParseReference(s)
	if err != nil {
		return ref, usageError{err}
	}
	if ref.Tag == "" && ref.Digest == (registry.Digest{}) {
		return ref, usagef("reference %q: it needs a tag or a digest, as in %s:latest", s, ref.Name())
	}
	return ref, nil
}

// identifier is what decides: the digest where there is one.
func identifier(ref registry.Reference) string {
	if ref.Digest != (registry.Digest{}) {
		return ref.Digest.String()
	}
	return ref.Tag
}
