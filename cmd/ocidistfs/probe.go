package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/fs"
)

// A probe is a look at a mount of another process. Where that one has taken a
// request and does not answer, who waits for it cannot even be killed: a process
// with such a thread does not end, and all files that it has open stay so, a pipe to
// a reader among them. So the look is left to this program, run again with the
// command probe, which has nothing of ours but a pipe for the answer and is left
// behind when that does not come.
type probe struct {
	Do   probing
	Path string // as it was given: the working directory is the same
	// What else a mount needs to know, for mountable.
	AllowOther bool     `json:",omitempty"`
	CacheDir   string   `json:",omitempty"`
	Outside    []string `json:",omitempty"`
}

// A probing is what a probe does, in the words of package fs.
type probing string

const (
	readStatus  probing = "status"  // [fs.ReadStatus]
	refreshPath probing = "refresh" // [fs.Refresh]
	mountable   probing = "check"   // [fs.Check]
)

const (
	// probeLimit is how long a probe may take. It gives up by itself before that, after
	// seconds, and where a mount is refreshed after little more than a minute: this is
	// for one that cannot.
	probeLimit = 90 * time.Second
	// reapLimit is how long one is waited for that has answered. It takes no time,
	// unless a thread of it hangs.
	reapLimit = 100 * time.Millisecond
)

// An answer is what a probe found.
type answer struct {
	Path   string `json:",omitempty"` // of the mount
	Status []byte `json:",omitempty"` // its status.json
	Failed *relayed
}

// relayed is an error that another process had. Of what it was only the state of
// a mount is known here.
type relayed struct{ Text, State string }

func (r *relayed) Error() string { return r.Text }

func (r *relayed) Is(target error) bool {
	state := stateOf(target)
	return state != stateUnknown && state == r.State
}

func addProbe(app *kingpin.Application) (string, command) {
	var question string
	cmd := app.Command("probe", "Look at a mount for the process that started this one.").Hidden()
	cmd.Arg("QUESTION", "What is asked.").Required().StringVar(&question)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		var p probe
		if err := json.Unmarshal([]byte(question), &p); err != nil {
			return usagef("this command is for the program itself; use ocidistfs status")
		}
		return writeLine(s.out, p.look(ctx))
	}
}

// look touches the mount.
func (p *probe) look(ctx context.Context) (a answer) {
	var err error
	switch p.Do {
	case readStatus:
		a.Path, a.Status, err = fs.ReadStatus(p.Path)
	case refreshPath:
		err = fs.Refresh(ctx, p.Path)
	case mountable:
		err = fs.Check(p.Path, p.AllowOther, p.CacheDir, p.Outside...)
	default:
		err = fmt.Errorf("nobody knows how to %q a mount", p.Do)
	}
	if err != nil {
		a.Failed = &relayed{err.Error(), stateOf(err)}
	}
	return a
}

// run has another process look. Its error is the one that look has there, or that
// there is no answer; the answer then has what is known all the same.
func (p *probe) run(ctx context.Context) (answer, error) {
	program, err := os.Executable()
	if err != nil {
		return answer{}, err
	}
	return p.runAs(ctx, program, probeLimit)
}

func (p *probe) runAs(ctx context.Context, program string, limit time.Duration) (answer, error) {
	question, err := json.Marshal(p)
	if err != nil {
		return answer{}, err
	}
	said, says, err := os.Pipe()
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = said.Close() }()
	c := exec.CommandContext(context.WithoutCancel(ctx), program, "probe", string(question))
	c.Env = daemonEnvironment(os.Environ())
	c.Stdout = says
	detach(c)
	err = c.Start()
	_ = says.Close() // the probe has it
	if err != nil {
		return answer{}, err
	}
	defer leave(c)
	if err := said.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return answer{}, err
	}
	stop := context.AfterFunc(ctx, func() { _ = said.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	// Not to the end of the pipe, which comes with that of the probe.
	var a answer
	switch err := json.NewDecoder(said).Decode(&a); {
	case err == nil && a.Failed == nil:
		return a, nil
	case err == nil:
		return a, a.Failed
	case ctx.Err() != nil:
		return answer{}, context.Cause(ctx)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return answer{}, fs.ErrSilent
	default:
		return answer{}, fmt.Errorf("the process that looks at the mount ended without a word: %w", err)
	}
}

// leave ends a probe that is of no more use. One that hangs in a mount ends when
// that answers, or is no more.
func leave(c *exec.Cmd) {
	_ = c.Process.Kill() // gone is good too
	ended := make(chan struct{})
	go func() { defer close(ended); _ = c.Wait() }()
	select {
	case <-ended:
	case <-time.After(reapLimit):
	}
}
