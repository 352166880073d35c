package imagetar

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A State is how a part of an image in a tarball compares with the registry's.
type State string

// The states. Differs and those after it are differences.
const (
	OK           State = "ok"
	Uncompressed State = "ok, uncompressed" // a layer whose bytes are those of the diffID
	NotKept      State = "not kept"         // the manifest, in a format that has none of the registry's
	LeftOut      State = "left out"         // a layer that may not be distributed
	Differs      State = "differs"
	Ambiguous    State = "ambiguous" // it is there twice, and which one counts depends on who reads it
	Missing      State = "missing"
	Superfluous  State = "superfluous" // a layer that the registry's image does not have
)

func (s State) differs() bool {
	switch s {
	case Differs, Ambiguous, Missing, Superfluous:
		return true
	}
	return false
}

// A Part is the manifest, the config or a layer of an image.
type Part struct {
	Part   string  `json:"part"` // "index", "manifest", "config", "layer 0"
	Digest v1.Hash `json:"digest,omitzero"`
	State  State   `json:"state"`
	// Found is the digest of what is in the tarball in its place.
	Found  v1.Hash `json:"found,omitzero"`
	Member string  `json:"member,omitempty"`
}

// A Comparison is what Compare found.
type Comparison struct {
	Format   string    `json:"format"` // "oci" or "docker"
	Names    []string  `json:"names"`  // what the tarball calls the image
	Parts    []Part    `json:"parts"`
	Extra    []string  `json:"extra"` // members that nothing refers to
	Problems []Problem `json:"problems"`
	Unsaid   int       `json:"unsaid,omitempty"` // problems that are not in the list
}

// Difference is the first difference in words, "" where the image in the tarball is
// the registry's: by the digest of its manifest where the format keeps one, else by
// its config and layers.
func (c *Comparison) Difference() string {
	for _, p := range c.Parts {
		switch p.State {
		case Differs:
			return fmt.Sprintf("%s %s differs: it has %s", p.Part, p.Digest, p.Found)
		case Ambiguous:
			return fmt.Sprintf("%s %s is there twice, with different bytes", p.Part, p.Digest)
		case Missing:
			return fmt.Sprintf("%s %s is missing", p.Part, p.Digest)
		case Superfluous:
			return fmt.Sprintf("%s is one more than the registry has", p.Part)
		}
	}
	for _, p := range c.Problems {
		if !p.Harmless {
			return fmt.Sprintf("member %.200q: %s", p.Member, p.Reason)
		}
	}
	if c.Unsaid > 0 {
		return "there are more problems with it than can be listed"
	}
	return ""
}
