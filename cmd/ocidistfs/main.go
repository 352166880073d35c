// Ocidistfs shows container registries as directories, and lists tags, shows
// manifests and pulls images without a mount.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kingpin/v2"
)

// The exit codes. Scripts tell a wrong call from a failure by them.
const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	// A pipe that is closed at the other end is an error of the write, which
	// commands that print as they go take for the end.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr})
	stop()
	os.Exit(code)
}

// streams are what a command reads and writes.
type streams struct {
	in       io.Reader
	out, err io.Writer
}

// A command is what runs after the flags are parsed.
type command func(ctx context.Context, s streams) error

// usageError is a call that can never work, whatever registries say.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// run parses the arguments, runs the command and returns the exit code.
func run(ctx context.Context, args []string, s streams) int {
	// Kingpin would read arguments from files whose name follows an "@", which a
	// reference has too.
	kingpin.EnableFileExpansion = false
	exit := -1
	app := kingpin.New("ocidistfs", "Container registries as directories; and their tags, manifests and images without a mount.")
	app.Writer(s.err).UsageWriter(s.out).ErrorWriter(s.err)
	app.Terminate(func(code int) { exit = code })
	app.DefaultEnvars()
	app.HelpFlag.Short('h')
	commands := map[string]command{}
	for _, add := range []func(*kingpin.Application) (string, command){
		addMount, addUnmount, addTags, addManifest, addPull, addDemo, addVersion, addDaemon,
	} {
		name, c := add(app)
		commands[name] = c
	}
	selected, err := app.Parse(args)
	if exit >= 0 { // --help
		return exit
	}
	if err != nil {
		fmt.Fprintf(s.err, "ocidistfs: %v; see ocidistfs --help\n", err)
		return exitUsage
	}
	err = commands[selected](ctx, s)
	var usage usageError
	switch {
	case err == nil, errors.Is(err, syscall.EPIPE):
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(s.err, "ocidistfs: %v; see ocidistfs %s --help\n", err, selected)
		return exitUsage
	case ctx.Err() != nil:
		fmt.Fprintln(s.err, "ocidistfs: interrupted")
		return exitFailed
	default:
		fmt.Fprintf(s.err, "ocidistfs: %v\n", err)
		return exitFailed
	}
}
