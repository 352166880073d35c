package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

// cacheGroup is the command that those for the cache directory belong to.
func cacheGroup(app *kingpin.Application) *kingpin.CmdClause {
	if group := app.GetCommand("cache"); group != nil {
		return group
	}
	return app.Command("cache", "Look at the cache directory, check it, and remove what is in it. Mounts may go on meanwhile.")
}

// A cacheAnswer is what such a command has found or done: for programs as JSON, and
// as a text.
type cacheAnswer interface {
	write(w *strings.Builder, now time.Time)
}

// addCacheCommand adds a command for the cache directory: with flags for that and for
// how it answers, besides which it may get others. run may have both an answer and
// an error, or nil and an error.
func addCacheCommand(app *kingpin.Application, name, help, examples string, run func(ctx context.Context, dir string) (cacheAnswer, error)) (*kingpin.CmdClause, command) {
	var dir string
	var asJSON bool
	cmd := cacheGroup(app).Command(name, help).HelpLong(examples)
	cacheFlag(cmd, &dir)
	cmd.Flag("json", "For programs: an object.").BoolVar(&asJSON)
	return cmd, func(ctx context.Context, s streams) error {
		dir, err := cacheDir(dir)
		if err != nil {
			return err
		}
		answer, err := run(ctx, dir)
		if err != nil {
			err = fmt.Errorf("cache %s %s: %w", name, dir, err)
		}
		switch {
		case answer == nil:
			return err
		case asJSON:
			return errors.Join(writeJSON(s.out, answer), err)
		}
		var text strings.Builder
		answer.write(&text, time.Now())
		_, failed := io.WriteString(s.out, text.String())
		return errors.Join(failed, err)
	}
}
