package main

import (
	"strings"
	"text/template"

	"github.com/alecthomas/kingpin/v2"
)

const applicationHelp = `Container registries as directories; and their tags, manifests and images without a mount.

The variable shown with a flag sets it too; the command line wins, and there --no-FLAG takes back a flag without a value.

The exit code is 0, 1 after a failure, 2 after a wrong call; that of diff is 1 where the two differ, 2 after a failure.`

// usageTemplate is kingpin's, but for examples, variables, and the room that
// commands take: each has one example in the list of all, the others in its own
// help.
const usageTemplate = `{{define "Arguments" -}}
{{if .FlagSummary}} {{.FlagSummary}}{{end -}}
{{range .Args}}{{if not .Required}} [<{{.Name}}>{{Dots .}}]{{else}} <{{.Name}}>{{Dots .}}{{end}}{{end -}}
{{end -}}

{{with .Context.SelectedCommand -}}
usage: ocidistfs {{.}}{{if Subcommands .}} <command>{{end}}{{template "Arguments" .}}

{{.Help|Wrap 0}}
{{with Examples . -}}
Examples:
{{range .}}  {{.}}
{{end}}
{{end -}}
{{with Subcommands . -}}
Commands:
{{range .}}  {{.FullCommand}}{{template "Arguments" .}}
{{.Help|Wrap 4}}{{with FirstExample .}}    Example: {{.}}
{{end}}
{{end -}}
{{end -}}
{{else -}}
usage: ocidistfs [<flags>] <command> [<args> ...]

{{.App.Help|Wrap 0}}
{{end -}}
{{if .Context.Flags -}}
Flags:
{{.Context.Flags|FlagsToTwoColumns|FormatTwoColumns}}
{{end -}}
{{if .Context.Args -}}
Args:
{{.Context.Args|ArgsToTwoColumns|FormatTwoColumns}}
{{end -}}
{{with .Context.SelectedCommand -}}
{{with Environment . -}}
Environment:
{{.|FormatTwoColumns}}
{{end -}}
{{else -}}
Commands:
{{range Commands .App}}  {{.FullCommand}}{{template "Arguments" .}}
{{.Help|Wrap 4}}{{with FirstExample .}}    Example: {{.}}
{{end}}
{{end -}}
ocidistfs <command> --help has more of each; the manual: ocidistfs --help-man | man -l -
{{end -}}
`

// helpFunctions are what the templates use besides kingpin's functions.
func helpFunctions() template.FuncMap {
	return template.FuncMap{
		"FlagsToTwoColumns": flagColumns,
		"Commands":          shownCommands,
		"Subcommands":       func(c *kingpin.CmdModel) []*kingpin.CmdModel { return forPeople(c.Commands) },
		"Examples":          exampleLines,
		"FirstExample":      firstExample,
		"Environment":       environment,
		"Dots":              dots,
		"Roff":              roff,
		"ManFlag":           manFlag,
		"Variables":         variableRows,
		"Version":           versionString,
	}
}

// shownCommands are the commands for people, those in groups too.
func shownCommands(app *kingpin.ApplicationModel) []*kingpin.CmdModel {
	return forPeople(app.FlattenedCommands())
}

// forPeople leaves out hidden commands. That "help" is one too, --help makes
// unnecessary to say.
func forPeople(commands []*kingpin.CmdModel) []*kingpin.CmdModel {
	var shown []*kingpin.CmdModel
	for _, c := range commands {
		if !c.Hidden && c.Name != "help" {
			shown = append(shown, c)
		}
	}
	return shown
}

// exampleLines are what a command has in HelpLong: what to type, each after a
// comment where it needs one. What to type first is in the list of all commands.
func exampleLines(c *kingpin.CmdModel) []string {
	return strings.FieldsFunc(c.HelpLong, func(r rune) bool { return r == '\n' })
}

// dots follow the name of an argument that there may be several of.
func dots(a *kingpin.ArgModel) string {
	if v, ok := a.Value.(interface{ IsCumulative() bool }); ok && v.IsCumulative() {
		return "..."
	}
	return ""
}

func firstExample(c *kingpin.CmdModel) string {
	for _, line := range exampleLines(c) {
		if !strings.HasPrefix(line, "#") {
			return line
		}
	}
	return ""
}

// variables are those of the environment that others define, and that do
// something with a command that has the flag.
var variables = []struct{ flag, name, help string }{
	{"anonymous", "DOCKER_CONFIG", "Directory of docker's config.json, which has credentials; by default ~/.docker."},
	{"anonymous", "REGISTRY_AUTH_FILE", "Podman's file of credentials; by default containers/auth.json in $XDG_RUNTIME_DIR, then in ~/.config."},
	{"proxy", "HTTPS_PROXY, NO_PROXY", "A proxy (HTTP_PROXY for plain HTTP), and hosts that need none; --proxy goes before them, and --http heeds none."},
	{"ca-cert", "SSL_CERT_FILE, SSL_CERT_DIR", "The system's certificate authorities."},
	{"cache-dir", "XDG_CACHE_HOME", "The user's cache directory; by default ~/.cache."},
}

func environment(c *kingpin.CmdModel) [][2]string {
	var rows [][2]string
	for _, v := range variables {
		for _, f := range c.Flags {
			if f.Name == v.flag {
				rows = append(rows, [2]string{v.name, v.help})
			}
		}
	}
	return rows
}
