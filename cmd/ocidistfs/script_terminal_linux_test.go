package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

var terminalCommands = map[string]scriptCommand{"terminal": runOnTerminal}

// runOnTerminal is: [!] terminal [-out] ARGUMENT...; it runs the program with a terminal
// as its standard error, and stderr looks at what came there. With -out the terminal is
// its standard output too.
func runOnTerminal(ts *testscript.TestScript, neg bool, args []string) {
	us, its, err := openTerminal()
	ts.Check(err)
	both := len(args) > 0 && args[0] == "-out"
	if both {
		args = args[1:]
	}
	c := exec.Command(program, args...)
	c.Dir = ts.Getenv("WORK")
	for _, name := range []string{"WORK", "HOME", "PATH", "TERM"} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	c.Env = append(c.Env, raceVariable())
	c.Stdout, c.Stderr = ts.Stdout(), its
	if both {
		c.Stdout = its
	}
	ts.Check(c.Start())
	ts.Check(its.Close())
	// When the last who holds it closes the other side, reading fails.
	var said bytes.Buffer
	_, _ = io.Copy(&said, us)
	err = c.Wait()
	ts.Check(us.Close())
	fmt.Fprintf(ts.Stderr(), "%s", &said)
	if (err != nil) != neg {
		ts.Fatalf("exit: %v\n%s", err, said.String())
	}
}

// openTerminal returns the two sides of a terminal (pty(7)).
func openTerminal() (us, its *os.File, err error) {
	us, err = os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, nil, err
	}
	n, err := unix.IoctlGetInt(int(us.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(us.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err == nil {
		its, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	}
	if err == nil {
		err = unix.IoctlSetWinsize(int(its.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 80})
	}
	return us, its, err
}
