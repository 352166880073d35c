package rootfs

import "strings"

// housekeeping are the members of layers with a table of contents that are no files of
// the image: the table itself, and marks that say what to fetch before it is asked for.
// They lie in the root.
var housekeeping = map[string]bool{
	"stargz.index.json":     true,
	".prefetch.landmark":    true,
	".no.prefetch.landmark": true,
}

// isHousekeeping says so of an entry's name, in a layer that has a table of contents.
func isHousekeeping(name string) bool {
	return housekeeping[strings.TrimPrefix(name, "./")]
}

// withoutHousekeeping returns the table of a layer that has a table of contents without
// what a reader of the latter does not see either: the image has the same files whichever way
// it was indexed.
func withoutHousekeeping(t *Table) (*Table, error) {
	var b TableBuilder
	for _, e := range t.All() {
		if isHousekeeping(e.Name) {
			continue
		}
		if err := b.Add(e); err != nil {
			return nil, err
		}
	}
	return b.Table(), nil
}
