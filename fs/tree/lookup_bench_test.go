package tree

import (
	"fmt"
	"testing"

	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// knownImages is how many images the benchmarks below look around in.
const knownImages = 1000

// BenchmarkLookupKnown looks up a tag and a file of its image, as find and ls -l
// do, where all is known and nobody is asked.
func BenchmarkLookupKnown(b *testing.B) {
	b.ReportAllocs()
	inKnown(b, func(child Child) error {
		_, err := child.Node.Attr(b.Context())
		return err
	})
}

// BenchmarkOpenKnown opens that file too, and closes it.
func BenchmarkOpenKnown(b *testing.B) {
	b.ReportAllocs()
	inKnown(b, func(child Child) error {
		file, err := child.Node.(File).Open(b.Context())
		if err != nil {
			return err
		}
		return file.Close()
	})
}

// inKnown does something with the manifests of many images, in turn.
func inKnown(b *testing.B, do func(manifest Child) error) {
	f := newFixture(b, registrytest.Options{})
	for i := range knownImages {
		f.push("a", fmt.Sprintf("v%04d", i), uint64(i))
	}
	tags := f.mustLookup("a/tags").Node.(Dir)
	one := func(i int) {
		image, err := tags.Lookup(b.Context(), fmt.Sprintf("v%04d", i%knownImages))
		if err != nil {
			b.Fatal(err)
		}
		manifest, err := image.Node.(Dir).Lookup(b.Context(), "manifest.json")
		if err != nil {
			b.Fatal(err)
		}
		if err := do(manifest); err != nil {
			b.Fatal(err)
		}
	}
	for i := range knownImages {
		one(i)
	}
	f.asked()
	i := 0
	for b.Loop() {
		one(i)
		i++
	}
	f.wantAsked("all is known")
}
