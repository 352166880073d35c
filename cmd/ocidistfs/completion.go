package main

import (
	"context"
	_ "embed"
	"io"

	"github.com/alecthomas/kingpin/v2"
)

// The scripts ask the command complete for what can stand at the cursor.
var (
	//go:embed completion.bash
	bashCompletion string
	//go:embed completion.zsh
	zshCompletion string
	//go:embed completion.fish
	fishCompletion string
)

const completionExamples = `# In this shell (bash), or in each one:
source <(ocidistfs completion bash)
ocidistfs completion bash >~/.local/share/bash-completion/completions/ocidistfs
ocidistfs completion zsh >"${fpath[1]}/_ocidistfs"
ocidistfs completion fish >~/.config/fish/completions/ocidistfs.fish
`

func addCompletion(app *kingpin.Application) (string, command) {
	var shell string
	cmd := app.Command("completion", "Write the script by which a shell completes commands, flags, mountpoints, and references that the cache knows.").HelpLong(completionExamples)
	cmd.Arg("SHELL", "bash, zsh or fish.").Required().EnumVar(&shell, "bash", "zsh", "fish")
	return cmd.FullCommand(), func(_ context.Context, s streams) error {
		script := map[string]string{"bash": bashCompletion, "zsh": zshCompletion, "fish": fishCompletion}[shell]
		_, err := io.WriteString(s.out, script)
		return err
	}
}

func addComplete(app *kingpin.Application) (string, command) {
	var words []string
	cmd := app.Command("complete", "Write what can stand at the end of a line, for a shell.").Hidden()
	cmd.Arg("WORD", "The line after the program's name; the last one is being written.").StringsVar(&words)
	return cmd.FullCommand(), func(_ context.Context, s streams) error {
		_, err := io.WriteString(s.out, complete(app.Model(), words).String())
		return err
	}
}

// A completion is what can stand in place of the last word.
type completion struct {
	// kind is "" where it is one of the candidates, or what the shell knows itself.
	kind       string
	candidates []candidate
}

const (
	ofFiles       = "files"
	ofDirectories = "directories"
)

// A candidate ends with a "/", ":", "@" or "=" where more is to follow.
type candidate struct{ word, help string }

// String is the completion as scripts read it: a line ":files" or ":directories",
// or a line a candidate, with a tab before its help.
func (c completion) String() string {
	if c.kind != "" {
		return ":" + c.kind + "\n"
	}
	text := ""
	for _, one := range c.candidates {
		text += one.word
		if one.help != "" {
			text += "\t" + one.help
		}
		text += "\n"
	}
	return text
}

// words makes candidates of words without help.
func words(all []string) completion {
	var c completion
	for _, word := range all {
		c.candidates = append(c.candidates, candidate{word: word})
	}
	return c
}

// ignoring makes candidates of words that could be had, none of an error: nobody
// wants to read one in the middle of a line.
func ignoring(all []string, err error) completion {
	if err != nil {
		return completion{}
	}
	return words(all)
}
