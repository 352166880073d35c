package main

import (
	"cmp"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// complete returns what can stand in place of the last word of a line, whose
// other words are taken as they are. It asks no registry.
func complete(app *kingpin.ApplicationModel, line []string) completion {
	l := parsedLine{app: app}
	var word string
	if n := len(line); n > 0 {
		line, word = line[:n-1], line[n-1]
	}
	for _, w := range line {
		l.take(w)
	}
	c := l.complete(word)
	c.candidates = slices.DeleteFunc(c.candidates, func(one candidate) bool { return !strings.HasPrefix(one.word, word) })
	return c
}

// A parsedLine is what is known of a line before its last word.
type parsedLine struct {
	app       *kingpin.ApplicationModel
	command   *kingpin.CmdModel  // nil before one was named
	waiting   *kingpin.FlagModel // has no value yet; nil is none
	arguments int                // that were given
	argsOnly  bool               // after "--"
	lost      bool               // what should name a command does not
	cacheDir  string
}

// take goes on by a word.
func (l *parsedLine) take(word string) {
	switch name, value, hasValue := strings.Cut(strings.TrimPrefix(word, "--"), "="); {
	case l.waiting != nil:
		l.set(l.waiting.Name, word)
		l.waiting = nil
	case l.argsOnly || !strings.HasPrefix(word, "-") || word == "-":
		commands := l.commands()
		if commands == nil {
			l.arguments++
			return
		}
		i := slices.IndexFunc(commands, func(c *kingpin.CmdModel) bool { return c.Name == word || slices.Contains(c.Aliases, word) })
		if l.lost = i < 0; !l.lost {
			l.command = commands[i]
		}
	case word == "--":
		l.argsOnly = true
	case hasValue:
		l.set(name, value)
	default:
		if f := l.flag(name); f != nil && !f.IsBoolFlag() {
			l.waiting = f
		}
	}
}

// commands are those that the next word may be one of; none where it is an argument.
func (l *parsedLine) commands() []*kingpin.CmdModel {
	if l.command == nil {
		return forPeople(l.app.Commands)
	}
	return forPeople(l.command.Commands)
}

func (l *parsedLine) set(flag, value string) {
	if flag == "cache-dir" {
		l.cacheDir = value
	}
}

func (l *parsedLine) flags() []*kingpin.FlagModel {
	flags := l.app.Flags
	if l.command != nil {
		flags = slices.Concat(l.command.Flags, flags)
	}
	return slices.DeleteFunc(slices.Clone(flags), func(f *kingpin.FlagModel) bool { return f.Hidden })
}

func (l *parsedLine) flag(name string) *kingpin.FlagModel {
	i := slices.IndexFunc(l.flags(), func(f *kingpin.FlagModel) bool {
		return f.Name == name || f.Short != 0 && name == "-"+string(f.Short)
	})
	if i < 0 {
		return nil
	}
	return l.flags()[i]
}

func (l *parsedLine) complete(word string) completion {
	name, value, hasValue := strings.Cut(strings.TrimPrefix(word, "--"), "=")
	switch {
	case l.lost:
		return completion{}
	case l.waiting != nil:
		return l.value("--"+l.waiting.Name, word)
	case !l.argsOnly && strings.HasPrefix(word, "--") && hasValue:
		c := l.value("--"+name, value)
		for i := range c.candidates {
			c.candidates[i].word = "--" + name + "=" + c.candidates[i].word
		}
		return c
	case !l.argsOnly && strings.HasPrefix(word, "-"):
		var c completion
		for _, f := range l.flags() {
			one := candidate{"--" + f.Name, f.Help}
			if !f.IsBoolFlag() {
				one.word += "="
			}
			c.candidates = append(c.candidates, one)
		}
		return c
	case len(l.commands()) > 0:
		var c completion
		for _, command := range l.commands() {
			c.candidates = append(c.candidates, candidate{command.Name, command.Help})
		}
		return c
	}
	args := l.command.Args
	i := l.arguments
	if last := len(args) - 1; i > last && last >= 0 && dots(args[last]) != "" {
		i = last
	}
	if i < len(args) {
		return l.value(args[i].Name, word)
	}
	return completion{}
}

// value completes the value of an argument or flag, by its name.
func (l *parsedLine) value(name, word string) completion {
	known := cache.NamesIn(l.cache())
	switch name {
	case "REFERENCE", "OTHER":
		return l.reference(known, word, ":")
	case "REPOSITORY":
		return l.reference(known, word, "")
	case "MOUNTPOINT":
		if l.command.Name == "mount" || l.command.Name == "demo" {
			return completion{kind: ofDirectories}
		}
		return ignoring(fs.Mounts())
	case "SHELL":
		return words([]string{"bash", "zsh", "fish"})
	case "PATH":
		switch {
		case l.command.Name == "refresh":
			return completion{kind: ofDirectories}
		case l.command.Name == "cp" && l.arguments > 0: // where to
			return completion{kind: ofFiles}
		}
		return words(pathsIn(l.cache(), word))
	case "--cache-dir":
		return completion{kind: ofDirectories}
	case "FILE", "--path", "--log-file", "--ca-cert", "--client-cert", "--client-key", "--hosts-dir":
		return completion{kind: ofFiles}
	case "HOST", "--registry", "--insecure", "--allow-hosts":
		return words(hostsOf(known, ""))
	case "--platform":
		return words([]string{"linux/amd64", "linux/arm64", "linux/arm/v7", "linux/arm/v6", "linux/386", "linux/ppc64le", "linux/riscv64", "linux/s390x"})
	case "--log-level":
		return words([]string{"debug", "info", "warn", "error"})
	}
	return completion{}
}

// cache is the cache directory that the line is about.
func (l *parsedLine) cache() string {
	dir, err := cacheDir(cmp.Or(l.cacheDir, os.Getenv(variable("cache-dir"))))
	if err != nil {
		return "" // knows nothing
	}
	return dir
}

// reference completes the part of a reference that is being written: a host, a
// repository, which more follows after, a tag or a digest.
func (l *parsedLine) reference(known cache.Names, word, more string) completion {
	if !strings.Contains(word, "/") {
		return words(hostsOf(known, "/"))
	}
	// The host may have a port.
	slash := strings.LastIndexByte(word, '/')
	name, _, _ := strings.Cut(word[slash:], "@")
	name, _, hasTag := strings.Cut(name, ":")
	before, _, hasDigest := strings.Cut(word, "@")
	repository := canonicalName(word[:slash] + name)
	switch {
	case more == "" && (hasTag || hasDigest):
		return completion{}
	case hasDigest:
		digests, err := known.Digests(repository)
		return ignoring(each(digests, func(d registry.Digest) string { return before + "@" + d.String() }), err)
	case hasTag:
		tags, err := known.Tags(repository)
		tags = slices.DeleteFunc(tags, tree.IsReferrersTag) // nobody types those
		return ignoring(each(tags, func(tag string) string { return word[:slash] + name + ":" + tag }), err)
	}
	repositories, err := known.Repositories()
	return ignoring(each(repositories, func(name string) string { return name + more }), err)
}

// canonicalName is the name by which a repository is kept.
func canonicalName(name string) string {
	ref, err := registry.ParseReference(name)
	if err != nil {
		return name
	}
	return ref.Name()
}

// hostsOf are the hosts of the repositories that are known.
func hostsOf(known cache.Names, more string) []string {
	repositories, err := known.Repositories()
	if err != nil {
		return nil
	}
	return slices.Compact(each(repositories, func(name string) string {
		host, _, _ := strings.Cut(name, "/")
		return host + more
	}))
}

func each[T any](all []T, f func(T) string) []string {
	made := make([]string, 0, len(all))
	for _, one := range all {
		made = append(made, f(one))
	}
	return made
}
