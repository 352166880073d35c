package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// program is the binary that the scripts run: a real one, since a mount in the
// background is the program started again.
var program string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "probe" { // for a command that runs in a test's own process
		os.Exit(run(context.Background(), os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr}))
	}
	os.Exit(withProgram(m))
}

// withProgram builds the program, once for all tests.
func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ocidistfs-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	program = filepath.Join(dir, "ocidistfs")
	args := []string{"build", "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, ".")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "build the program:", err)
		return 1
	}
	if signal.Ignored(syscall.SIGHUP) {
		// As nohup leaves it, which programs would inherit that are to end by it.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
	}
	code := m.Run()
	if err := racesFound(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// TestScripts runs the scripts in testdata, each in a directory and with a home
// of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                "testdata",
		Setup:              scriptSetup,
		Cmds:               scriptCommands(),
		Condition:          scriptCondition,
		RequireUniqueNames: true,
	})
}

// A scriptCommand is a command that scripts have besides testscript's own.
type scriptCommand = func(ts *testscript.TestScript, neg bool, args []string)

// scriptCommands are all of them, by name.
func scriptCommands() map[string]scriptCommand {
	all := map[string]scriptCommand{}
	for _, some := range []map[string]scriptCommand{
		registryCommands, proxyCommands, logCommands, mountCommands, hungCommands, processCommands, terminalCommands,
	} {
		maps.Copy(all, some)
	}
	return all
}

// scriptSetup gives a script the program, a home, and a bench that is cleared at
// its end, however it ends.
func scriptSetup(env *testscript.Env) error {
	env.Setenv("PATH", filepath.Dir(program)+string(os.PathListSeparator)+env.Getenv("PATH"))
	env.Setenv("HOME", env.WorkDir)
	name, value, _ := strings.Cut(raceVariable(), "=")
	env.Setenv(name, value)
	tb, ok := env.T().(testing.TB)
	if !ok {
		return fmt.Errorf("%T is no testing.TB", env.T())
	}
	b := &bench{tb: tb, dir: env.WorkDir, registries: registries{}, logs: map[string]func() []string{}}
	env.Values[benchKey{}] = b
	env.Defer(b.clear)
	return nil
}

// scriptCondition knows [fuse]: file systems can be mounted here. In CI nobody reads
// what was skipped, so that there a script which asks fails where they cannot.
func scriptCondition(condition string) (bool, error) {
	if condition != "fuse" {
		return false, fmt.Errorf("unknown condition %q", condition)
	}
	_, err := os.Stat("/dev/fuse")
	if err == nil && os.Geteuid() != 0 {
		err = errors.New("it takes root")
	}
	if err != nil && gate.CI() {
		return false, fmt.Errorf("file systems cannot be mounted: %w", err)
	}
	return err == nil, nil
}
