// Ocidistfs shows container registries as directories, and lists tags, shows
// manifests and pulls images without a mount.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/signal"
	"syscall"
)

// The exit codes. Scripts tell a wrong call from a failure by them.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// A write to a pipe that nobody reads any more is to be an error, not the end
	// of the program. Notify and not Ignore: what is ignored would stay so in the
	// programs that this one starts.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), endings()...)
	context.AfterFunc(ctx, stop) // a second signal ends the program at once
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
}

// endings are the signals that end what runs in an orderly way: a terminal that
// is closed is one, unless nohup said otherwise.
func endings() []os.Signal {
	signals := []os.Signal{os.Interrupt, syscall.SIGTERM}
	if !signal.Ignored(syscall.SIGHUP) {
		signals = append(signals, syscall.SIGHUP)
	}
	return signals
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// A command is what runs after the flags are parsed.
type command func(ctx context.Context, s streams) error

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run parses the arguments, runs the command and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	app := newApplication(s)
	name, code, err := app.parse(args)
	if err == nil {
		if name == "" { // help was shown
			return code
		}
		err = app.commands[name](ctx, s)
	}
	help := "ocidistfs --help"
	if name != "" {
		help = "ocidistfs " + name + " --help"
	}
	var usage usageError
	failed := failure{code: exitFailed}
	switch {
	case err == nil, closedEarly(err):
		return 0
	case errors.As(err, &failed) && failed.err == nil:
		return failed.code
	case errors.As(err, &usage):
		fmt.Fprintf(s.err, "ocidistfs: %v; see %s\n", err, help)
		return exitUsage
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		fmt.Fprintln(s.err, "ocidistfs: interrupted")
		return failed.code
	default:
		fmt.Fprintln(s.err, "ocidistfs:", explain(err))
		return failed.code
	}
}

// closedEarly says whether err is that nobody reads our output any more: head
// has seen enough. A connection to a registry can be a broken pipe too, and that
// is a failure, so the file decides.
func closedEarly(err error) bool { return unwritten(err) && errors.Is(err, syscall.EPIPE) }

// unwritten says whether err is that our output could not be written.
func unwritten(err error) bool {
	var path *iofs.PathError
	return errors.As(err, &path) && path.Op == "write" && (path.Path == os.Stdout.Name() || path.Path == os.Stderr.Name())
}
