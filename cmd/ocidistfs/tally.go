package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// A failure is an error with an exit code of its own. It is not told where it has no
// error: the command has said all.
type failure struct {
	code int
	err  error
}

func (f failure) Error() string {
	if f.err == nil {
		return fmt.Sprintf("exit %d", f.code)
	}
	return f.err.Error()
}

func (f failure) Unwrap() error { return f.err }

// A tally tells what fails of many things, and goes on with the others.
type tally struct {
	w      io.Writer
	failed bool
}

// tell tells an error. It returns one that leaves nothing to go on with: that the
// command is to end, or cannot say what it found.
func (t *tally) tell(ctx context.Context, err error) error {
	var said sinkError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &said):
		return err
	}
	t.failed = true
	_, failed := fmt.Fprintln(t.w, "ocidistfs:", explain(err))
	return failed
}

// end is how the command ends.
func (t *tally) end() error {
	if t.failed {
		return failure{code: exitFailed}
	}
	return nil
}

// A sink is where a command writes what it found. That it cannot be written to
// is told from what else fails.
type sink struct{ w io.Writer }

type sinkError struct{ error }

func (e sinkError) Unwrap() error { return e.error }

func (s sink) Write(p []byte) (int, error) {
	n, err := s.w.Write(p)
	if err != nil {
		err = sinkError{err}
	}
	return n, err
}
