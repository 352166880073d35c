package fs

import "testing"

// TestOpens opens and closes one inode: it is never passed while another open
// file of it goes through the page cache, nor the other way round.
func TestOpens(t *testing.T) {
	const ino = 7
	for name, steps := range map[string][]struct {
		verified, backed, closed bool
		want                     openMode
	}{
		"verified meanwhile": {{want: direct}, {verified: true, want: fresh}, {verified: true, want: kept}},
		"damaged meanwhile":  {{verified: true, want: fresh}, {want: direct}, {verified: true, want: fresh}},
		"passed":             {{verified: true, backed: true, want: passed}, {verified: true, backed: true, want: passed}},
		"passed and direct":  {{want: direct}, {verified: true, backed: true, want: passed}, {want: direct}},
		"not while cached":   {{verified: true, want: fresh}, {verified: true, backed: true, want: kept}},
		"cached, then passed": {
			{verified: true, want: fresh}, {closed: true}, {verified: true, backed: true, want: passed},
			{verified: true, want: direct}, {closed: true}, {closed: true}, {verified: true, want: kept},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOpens()
			for i, step := range steps {
				if step.closed {
					o.remove(ino)
				} else if got := o.add(ino, step.verified, step.backed); got != step.want {
					t.Errorf("step %d: mode %d, want %d", i, got, step.want)
				}
			}
		})
	}
}
