package main

import (
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

// An application is all commands with their flags.
type application struct {
	kingpin  *kingpin.Application
	commands map[string]command // by name
	streams  streams
}

func newApplication(s streams) *application {
	// Kingpin would read arguments from files whose name follows an "@", which a
	// reference has too.
	kingpin.EnableFileExpansion = false
	// What its hidden flags show is ours too.
	kingpin.ManPageTemplate = manTemplate
	kingpin.BashCompletionTemplate, kingpin.ZshCompletionTemplate = bashCompletion, zshCompletion
	k := kingpin.New("ocidistfs", applicationHelp)
	k.UsageWriter(s.out).ErrorWriter(s.err)
	k.UsageTemplate(usageTemplate).UsageFuncs(helpFunctions())
	k.HelpFlag.Short('h').Help("Show this help.")
	k.Terminate(func(code int) { panic(exited(code)) })
	a := &application{k, map[string]command{}, s}
	for _, add := range []func(*kingpin.Application) (string, command){
		addMount, addUnmount, addStatus, addRefresh, addDoctor, addTags, addManifest, addPull, addExport, addVerify,
		addLs, addCat, addCp, addTree, addDiff,
		addCacheInfo, addCacheVerify, addCachePrune, addCacheClear, addDemo,
		addCompletion, addVersion, addComplete, addDaemon, addProbe,
	} {
		name, c := add(k)
		a.commands[name] = c
		completeFlags(commandOf(k, name))
	}
	return a
}

// commandOf is the command of a name, which has a word for each group that it is in.
func commandOf(k *kingpin.Application, name string) *kingpin.CmdClause {
	words := strings.Fields(name)
	cmd := k.GetCommand(words[0])
	for _, word := range words[1:] {
		cmd = cmd.GetCommand(word)
	}
	return cmd
}

// exited is how kingpin ends the program: it takes for granted that what it
// calls for that does not return.
type exited int

// parse returns the command that args ask for, which is "" where nothing is left
// to do but to exit with code. Its errors are of usage, or that help could not be
// written; the name is then the command whose help is worth a look, where one was
// recognized.
func (a *application) parse(args []string) (name string, code int, err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exited:
			if code = int(p); code != 0 {
				code = exitUsage
			}
		case error: // kingpin takes for granted, too, that usage can be written
			if !unwritten(p) {
				panic(p)
			}
			if code = exitUsage; len(args) > 0 { // without any, the call is wrong whoever reads that
				err = p
			}
		default:
			panic(p)
		}
	}()
	if len(args) == 0 {
		a.kingpin.UsageWriter(a.streams.err)
		a.kingpin.Usage(nil)
		return "", exitUsage, nil
	}
	if args[0] == "help" && len(args) > 1 {
		args = append(args[1:len(args):len(args)], "--help") // kingpin ends the program over an unknown one
	}
	args = joinDashes(args)
	name, err = a.kingpin.Parse(args)
	if unwritten(err) { // the manual, or a script for a shell
		return "", exitFailed, err
	}
	if err != nil {
		if parsed, _ := a.kingpin.ParseContext(args); parsed != nil && parsed.SelectedCommand != nil {
			name = parsed.SelectedCommand.FullCommand()
		}
		return name, exitUsage, wrongCall(a.kingpin.Model(), name, err)
	}
	return name, 0, nil
}

// dash is what a command gets for an argument "-": kingpin 2.4 takes a dash by itself
// for nothing, and the system has no argument with a NUL.
const dash = "\x00-"

// joinDashes makes "--path -" one argument, and "-" by itself one that kingpin takes.
func joinDashes(args []string) []string {
	var joined []string
	for _, arg := range args {
		last := len(joined) - 1
		if arg == "-" && last >= 0 && len(joined[last]) > 2 && strings.HasPrefix(joined[last], "--") && !strings.Contains(joined[last], "=") {
			joined[last] += "=-"
			continue
		}
		if arg == "-" {
			arg = dash
		}
		joined = append(joined, arg)
	}
	return joined
}
