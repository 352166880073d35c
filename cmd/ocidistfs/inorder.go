package main

import (
	"context"
	"iter"
)

// inOrder yields what do makes of each thing that in yields, in that order. Up to ahead of
// them are done at once, before whoever follows has asked for them; what in brings
// is waited for while there is something to yield. Who stops early ends the context of
// what is under way, and waits for it.
func inOrder[In, Out any](ctx context.Context, ahead int, in func(context.Context) iter.Seq[In], do func(context.Context, In) Out) iter.Seq[Out] {
	return func(yield func(Out) bool) {
		ctx, cancel := context.WithCancel(ctx)
		queue := make(chan chan Out, ahead-1)
		go func() {
			defer close(queue)
			for one := range in(ctx) {
				made := make(chan Out, 1)
				select {
				case queue <- made:
				case <-ctx.Done():
					return
				}
				go func() { made <- do(ctx, one) }()
			}
		}()
		defer func() {
			cancel()
			for made := range queue { // what uses the tree is over before that is closed
				<-made
			}
		}()
		for made := range queue {
			if !yield(<-made) {
				return
			}
		}
	}
}
