package main

import (
	"errors"
	"regexp"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// usageError is a call that can never work, whatever registries say.
type usageError struct{ error }

func (u usageError) Unwrap() error { return u.error }

// unknownCommand is how kingpin says that a word is none.
var unknownCommand = regexp.MustCompile(`^expected command but got "(.*)"$`)

// wordings turn what kingpin has to say into the words of our own errors. It has
// nothing but text to tell its errors by; one that is not here is as it says it.
var wordings = []struct {
	theirs *regexp.Regexp
	ours   string
}{
	{unknownCommand, `there is no command "$1"`},
	{regexp.MustCompile(`^must select a subcommand of '(.*)'$`), `$1 what? name one of its commands`},
	{regexp.MustCompile(`^unknown (?:long|short) flag '(.*)'$`), `there is no flag $1`},
	{regexp.MustCompile(`^unexpected (?:argument )?'?(.*?)'?$`), `unexpected argument "$1"`},
	{regexp.MustCompile(`^required argument '(.*)' not provided$`), `$1 is missing`},
	{regexp.MustCompile(`^required flag\(s\) '(.*)' not provided$`), `$1 is missing`},
	{regexp.MustCompile(`^expected argument for flag '(.*)'$`), `$1 needs a value`},
	{regexp.MustCompile(`^flag '(.*)' cannot be repeated$`), `--$1 cannot be repeated`},
	{regexp.MustCompile(`^(.*)enum value must be one of (.*), got '(.*)'$`), `$1"$3" is none of $2`},
}

// wrongCall is kingpin's error of a call, in our words. group is the command that was
// recognized, if any, which others may belong to.
func wrongCall(app *kingpin.ApplicationModel, group string, err error) error {
	text := err.Error()
	for _, w := range wordings {
		if w.theirs.MatchString(text) {
			reworded := w.theirs.ReplaceAllString(text, w.ours)
			if word := unknownCommand.FindStringSubmatch(text); word != nil {
				reworded += nearCommands(app, group, word[1])
			}
			return usageError{errors.New(reworded)}
		}
	}
	return usageError{err}
}

// nearCommands says which commands may have been meant.
func nearCommands(app *kingpin.ApplicationModel, group, word string) string {
	commands := app.Commands
	for _, c := range app.Commands {
		if c.Name == group {
			commands = c.Commands
		}
	}
	var names []string
	for _, c := range forPeople(commands) {
		names = append(names, c.Name)
	}
	near := nearest(word, names)
	if len(near) == 0 {
		return ""
	}
	return "; near ones: " + strings.Join(near, ", ")
}
