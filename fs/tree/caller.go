package tree

import "context"

// A Caller is the program that an operation is for.
type Caller struct {
	// Process is a number that all its threads share; 0 where it is not known.
	Process int
	// Name is what it calls itself, as in /proc/<process>/comm: cut to 15 bytes.
	Name string
}

type callerKey struct{}

// WithCaller says on whose behalf what gets the context is called. Who it is is
// asked only where that matters: where a registry would be.
func WithCaller(ctx context.Context, who func() Caller) context.Context {
	return context.WithValue(ctx, callerKey{}, who)
}

// callerOf is the program that ctx is for; the zero Caller where nobody said.
func callerOf(ctx context.Context) Caller {
	if who, ok := ctx.Value(callerKey{}).(func() Caller); ok {
		return who()
	}
	return Caller{}
}

type advancedKey struct{}

// WithAdvanced has a function called, from any goroutine and about once a second at most for
// each call that gets the context, while what the call waits for goes on, or what stands in the
// line before that: so a wait can be long and still have an end. It may be called once more when
// the call has returned.
func WithAdvanced(ctx context.Context, advanced func()) context.Context {
	return context.WithValue(ctx, advancedKey{}, advanced)
}

// advancer is that function.
func advancer(ctx context.Context) func() {
	if advanced, ok := ctx.Value(advancedKey{}).(func()); ok {
		return advanced
	}
	return func() {}
}
