package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

var processCommands = map[string]scriptCommand{
	"signal":   sendSignal,
	"gone":     awaitEnd,
	"detached": checkDetached,
}

// pidOf is a process number; 0 is none.
func pidOf(s string) int {
	pid, _ := strconv.Atoi(s) // 0
	return pid
}

// runs says whether a process runs the program that is tested. One that ended
// and was not waited for has no program any more.
func runs(pid int) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && exe == program
}

// sendSignal is: signal INT|TERM|HUP|KILL|STOP|CONT [PID]; without a number it goes to what
// was started in the background last.
func sendSignal(ts *testscript.TestScript, _ bool, args []string) {
	signal, ok := map[string]syscall.Signal{
		"INT": syscall.SIGINT, "TERM": syscall.SIGTERM, "HUP": syscall.SIGHUP, "KILL": syscall.SIGKILL,
		"STOP": syscall.SIGSTOP, "CONT": syscall.SIGCONT,
	}[args[0]]
	if !ok {
		ts.Fatalf("unknown signal %s", args[0])
	}
	if started := ts.BackgroundCmds(); len(args) == 1 && len(started) > 0 {
		ts.Check(started[len(started)-1].Process.Signal(signal))
		return
	}
	pid := pidOf(args[1])
	if !runs(pid) {
		ts.Fatalf("process %s is not the program", args[1])
	}
	ts.Check(syscall.Kill(pid, signal))
	if signal == syscall.SIGSTOP && !eventually(func() bool { return stopped(pid) }) {
		ts.Fatalf("process %d does not stop", pid)
	}
}

// stopped says whether all threads of a process have stopped. One that has not may
// still take a request from the kernel, and then whoever waits for the answer
// cannot even be killed.
func stopped(pid int) bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // the pattern is good
	for _, path := range threads {
		stat, err := os.ReadFile(path)
		if err != nil { // it has ended
			continue
		}
		// proc_pid_stat(5): the state comes after the name, which can hold anything.
		if fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); string(fields[0]) != "T" {
			return false
		}
	}
	return len(threads) > 0
}

// awaitEnd is: gone PID; it waits until the process has ended.
func awaitEnd(ts *testscript.TestScript, _ bool, args []string) {
	if !eventually(func() bool { return !runs(pidOf(args[0])) }) {
		ts.Fatalf("process %s is still there", args[0])
	}
}

// checkDetached is: detached PID; the process holds nothing of whoever started
// it: no terminal, no directory, no files, and no variable that stands for a flag.
func checkDetached(ts *testscript.TestScript, _ bool, args []string) {
	proc := "/proc/" + args[0]
	if cwd, err := os.Readlink(proc + "/cwd"); err != nil || cwd != "/" {
		ts.Fatalf("its directory is %s %v", cwd, err)
	}
	for _, fd := range []string{"0", "1", "2"} {
		if to, err := os.Readlink(proc + "/fd/" + fd); err != nil || to != os.DevNull {
			ts.Fatalf("its file %s is %s %v", fd, to, err)
		}
	}
	open, err := os.ReadDir(proc + "/fd")
	ts.Check(err)
	for _, fd := range open {
		if to, err := os.Readlink(proc + "/fd/" + fd.Name()); err == nil && strings.HasPrefix(to, "pipe:") {
			ts.Fatalf("its file %s is %s", fd.Name(), to)
		}
	}
	// proc_pid_stat(5): after the name, which can hold anything, the state, parent,
	// group, session and terminal.
	stat := ts.ReadFile(proc + "/stat")
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if session, terminal := fields[3], fields[4]; session != args[0] || terminal != "0" {
		ts.Fatalf("its session is %s, its terminal %s", session, terminal)
	}
	if strings.Contains(ts.ReadFile(proc+"/environ"), variablePrefix) {
		ts.Fatalf("its environment has flags")
	}
}
