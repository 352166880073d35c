package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

var terminalCommands = map[string]scriptCommand{"terminal": runOnTerminal}

// runOnTerminal is: [!] terminal [-out] [-release REGEXP] ARGUMENT...; it runs the program
// with a terminal as its standard error, and stderr looks at what came there. With -out
// the terminal is its standard output too. With -release registries hold answers back
// until the terminal shows that.
func runOnTerminal(ts *testscript.TestScript, neg bool, args []string) {
	us, its, err := openTerminal()
	ts.Check(err)
	var both bool
	var until string
	flags := flag.NewFlagSet("terminal", flag.ContinueOnError)
	flags.BoolVar(&both, "out", false, "")
	flags.StringVar(&until, "release", "", "")
	ts.Check(flags.Parse(args))
	args = flags.Args()
	shown, err := regexp.Compile(until)
	ts.Check(err)
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
	reader := releasing{when: shown, answer: benchOf(ts).answer}
	if until != "" {
		limit := time.AfterFunc(waitLimit, reader.answer)
		defer limit.Stop()
	} else {
		reader.answer = func() {}
	}
	_, _ = io.Copy(&reader, us)
	err = c.Wait()
	ts.Check(us.Close())
	said := &reader.said
	fmt.Fprintf(ts.Stderr(), "%s", said)
	if !shown.Match(said.Bytes()) {
		ts.Fatalf("the terminal never showed %s:\n%s", until, said.String())
	}
	if (err != nil) != neg {
		ts.Fatalf("exit: %v\n%s", err, said.String())
	}
}

// releasing is what a terminal shows, and ends that answers are held back when it shows
// something.
type releasing struct {
	said   bytes.Buffer
	when   *regexp.Regexp
	answer func()
}

func (r *releasing) Write(p []byte) (int, error) {
	n, err := r.said.Write(p)
	if r.when.Match(r.said.Bytes()) {
		r.answer()
	}
	return n, err
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
