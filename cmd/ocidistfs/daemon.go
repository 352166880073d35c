package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kingpin/v2"
)

// A mount in the background is served by the same program, run again with the
// command daemon. What it serves, passwords included, it reads as JSON from a
// pipe; that it serves, or why not, it writes to another. The numbers are those
// of the first files after standard error.
const (
	configFD = 3
	readyFD  = 4
	// startLimit is how long a mount may take to answer.
	startLimit = 30 * time.Second
	readyText  = "ready"
)

func addDaemon(app *kingpin.Application) (string, command) {
	cmd := app.Command("daemon", "Serve a mount for the process that started this one.").Hidden()
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		from, to := os.NewFile(configFD, "configuration"), os.NewFile(readyFD, "readiness")
		if from == nil || to == nil {
			return usagef("this command is for the program itself; use ocidistfs mount")
		}
		var m mount
		err := json.NewDecoder(from).Decode(&m)
		if err != nil {
			return usagef("this command is for the program itself; use ocidistfs mount")
		}
		_ = from.Close() // nothing more comes
		return m.daemon(ctx, s, to)
	}
}

// daemon serves the mount. What goes wrong before it answers, whoever waits at
// the other end of ready is told; what goes wrong later is in the log.
func (m *mount) daemon(ctx context.Context, s streams, ready io.WriteCloser) error {
	log, closeLog, err := m.Logging.open(s.err)
	serving := false
	if err == nil {
		defer closeLog()
		err = m.serve(ctx, log, func() error {
			serving = true
			_, err := io.WriteString(ready, readyText)
			return errors.Join(err, ready.Close())
		})
	}
	switch {
	case err == nil:
	case serving:
		log.Error("the mount ended", "mountpoint", m.Mountpoint, "error", err)
	default:
		_, _ = fmt.Fprint(ready, explain(err)) // who started this has gone
	}
	return err
}

// background starts the daemon and returns when the mount answers this process,
// or why it does not.
func (m *mount) background(ctx context.Context) error {
	program, err := os.Executable()
	if err != nil {
		return err
	}
	configuration, err := json.Marshal(m)
	if err != nil {
		return err
	}
	configIn, configOut, err := os.Pipe()
	if err != nil {
		return err
	}
	defer func() { _ = configOut.Close() }()
	readyIn, readyOut, err := os.Pipe()
	if err != nil {
		return errors.Join(err, configIn.Close())
	}
	defer func() { _ = readyIn.Close() }()
	// It outlives this command, and holds no directory, its own mount least of all.
	daemon := exec.CommandContext(context.WithoutCancel(ctx), program, "daemon")
	daemon.Dir = "/"
	daemon.Env = daemonEnvironment(os.Environ())
	daemon.ExtraFiles = []*os.File{configIn, readyOut}
	detach(daemon)
	if err := daemon.Start(); err != nil {
		return err
	}
	_, _ = configIn.Close(), readyOut.Close() // the daemon has them
	_, err = configOut.Write(configuration)
	err = errors.Join(err, configOut.Close())
	if err == nil {
		err = m.awaitReady(ctx, readyIn)
	}
	if err != nil {
		return errors.Join(err, endDaemon(daemon))
	}
	return daemon.Process.Release()
}

// awaitReady waits for the daemon's word, then for the mount's answer.
func (m *mount) awaitReady(ctx context.Context, ready *os.File) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startLimit, fmt.Errorf("mount %s: no answer within %s", m.Mountpoint, startLimit))
	defer cancel()
	said := make(chan string, 1)
	go func() {
		b, err := io.ReadAll(ready)
		if err != nil {
			b = []byte(err.Error())
		}
		said <- string(b)
	}()
	select {
	case text := <-said:
		switch {
		case text == "":
			return fmt.Errorf("mount %s: the process in the background ended without a word; --foreground shows why", m.Mountpoint)
		case text != readyText:
			return errors.New(text)
		}
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	answered := make(chan error, 1)
	go func() { answered <- m.answers() }()
	select {
	case err := <-answered:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// answers asks the mount for its status, which no other file system would give.
func (m *mount) answers() error {
	if _, err := os.Stat(filepath.Join(m.Mountpoint, ".ocidistfs", "status.json")); err != nil {
		return fmt.Errorf("mount %s: it does not answer: %w", m.Mountpoint, err)
	}
	return nil
}

// endDaemon ends a daemon that is of no use: it unmounts if it can.
func endDaemon(daemon *exec.Cmd) error {
	_ = daemon.Process.Signal(os.Interrupt) // gone is good too
	ended := make(chan struct{})
	go func() { _ = daemon.Wait(); close(ended) }()
	select {
	case <-ended:
		return nil
	case <-time.After(10 * time.Second):
		return daemon.Process.Kill()
	}
}

// pathVariables name files that are read for credentials and certificates.
var pathVariables = []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "SSL_CERT_FILE"}

// daemonEnvironment is the environment without the variables that stand for
// flags: the daemon gets these through the pipe, and a password must not stay in
// its environment. Relative paths are made absolute, since the daemon is in
// another directory.
func daemonEnvironment(environment []string) []string {
	kept := make([]string, 0, len(environment))
	for _, v := range environment {
		name, path, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, variablePrefix) {
			continue
		}
		if path != "" && slices.Contains(pathVariables, name) {
			if absolute, err := filepath.Abs(path); err == nil {
				v = name + "=" + absolute
			}
		}
		kept = append(kept, v)
	}
	return kept
}
