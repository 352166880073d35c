package fs

import "testing"

// A testBacking is a file to pass, which counts how often it is closed.
type testBacking struct{ closed int }

func (b *testBacking) Fd() uintptr  { return 0 }
func (b *testBacking) Close() error { b.closed++; return nil }

// TestOpens opens and closes one inode: while it is open, it is passed for all who open
// it or for none.
func TestOpens(t *testing.T) {
	const ino = 7
	for name, steps := range map[string][]struct {
		verified, backed, closed bool
		want                     openMode
	}{
		"verified meanwhile": {{want: direct}, {verified: true, want: fresh}, {verified: true, want: kept}},
		"damaged meanwhile":  {{verified: true, want: fresh}, {want: direct}, {verified: true, want: fresh}},
		"passed":             {{verified: true, backed: true, want: passed}, {verified: true, backed: true, want: passed}},
		"not while direct": {
			{want: direct}, {verified: true, backed: true, want: fresh}, {closed: true}, {verified: true, backed: true, want: kept},
			{closed: true}, {closed: true}, {verified: true, backed: true, want: passed},
		},
		"not while cached": {{verified: true, want: fresh}, {verified: true, backed: true, want: kept}},
		"damaged while passed": {
			{verified: true, backed: true, want: passed}, {want: passed}, {closed: true}, {want: passed},
			{closed: true}, {closed: true}, {want: direct},
		},
		"cached, then passed": {
			{verified: true, want: fresh}, {closed: true}, {verified: true, backed: true, want: passed},
			{verified: true, want: passed}, {closed: true}, {closed: true}, {verified: true, want: kept},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOpens()
			call := make(chan struct{})
			n := 0
			var first *testBacking // that is passed
			for i, step := range steps {
				if step.closed {
					o.close(call, ino)
					o.over(call)
					if n--; n == 0 && first != nil {
						if first.closed != 1 {
							t.Errorf("step %d: what was passed was closed %d times", i, first.closed)
						}
						first = nil
					}
					continue
				}
				n++
				var mode openMode
				if step.backed {
					own := &testBacking{}
					mode, _ = o.add(ino, step.verified, own)
					switch {
					case mode == passed && first == nil:
						first = own
					case own.closed != 1:
						t.Errorf("step %d: what is not passed was closed %d times", i, own.closed)
					}
				} else {
					mode, _ = o.add(ino, step.verified, nil)
				}
				if mode != step.want {
					t.Errorf("step %d: mode %d, want %d", i, mode, step.want)
				}
				if first != nil && first.closed != 0 {
					t.Errorf("step %d: what is passed was closed", i)
				}
			}
		})
	}
}

// An open file that is being closed is one until go-fuse has counted it.
func TestOpensClosing(t *testing.T) {
	o := newOpens()
	call, other := make(chan struct{}), make(chan struct{})
	o.add(7, false, nil)
	o.close(call, 7)
	o.over(other)
	if mode, _ := o.add(7, true, &testBacking{}); mode != fresh {
		t.Errorf("while it is being closed: mode %d, want %d", mode, fresh)
	}
	o.close(other, 7)
	o.over(other)
	o.over(call)
	if mode, _ := o.add(7, true, &testBacking{}); mode != passed {
		t.Errorf("after it was closed: mode %d, want %d", mode, passed)
	}
	if len(o.closing) != 0 {
		t.Errorf("%d calls are kept", len(o.closing))
	}
}
