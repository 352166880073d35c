package main

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/rogpeppe/go-internal/testscript"
)

var logCommands = map[string]scriptCommand{
	"log":     showLog,
	"forget":  forgetLog,
	"request": awaitRequest,
}

// logged returns the log of the registry or proxy VARIABLE.
func logged(ts *testscript.TestScript, args []string) func() []string {
	if len(args) == 0 {
		ts.Fatalf("want VARIABLE")
	}
	lines, ok := benchOf(ts).logs[args[0]]
	if !ok {
		ts.Fatalf("no registry or proxy %s", args[0])
	}
	return lines
}

// showLog is: log VARIABLE; stdout looks into it, a line a request.
func showLog(ts *testscript.TestScript, _ bool, args []string) {
	for _, line := range logged(ts, args)() {
		fmt.Fprintln(ts.Stdout(), line)
	}
}

// forgetLog is: forget VARIABLE; the log begins anew.
func forgetLog(ts *testscript.TestScript, _ bool, args []string) {
	lines := logged(ts, args)
	before := len(lines())
	benchOf(ts).logs[args[0]] = func() []string { return lines()[before:] }
}

// awaitRequest is: request VARIABLE PATTERN; it waits for a line of the log.
func awaitRequest(ts *testscript.TestScript, _ bool, args []string) {
	lines := logged(ts, args)
	pattern, err := regexp.Compile(args[1])
	ts.Check(err)
	if !eventually(func() bool { return slices.ContainsFunc(lines(), pattern.MatchString) }) {
		ts.Fatalf("no request %s: %q", pattern, lines())
	}
}
