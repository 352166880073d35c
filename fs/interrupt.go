package fs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// signalPoll is how often a caller whose request was interrupted is looked at: a
// fatal signal ends its wait within a few of these.
const signalPoll = 20 * time.Millisecond

// wait runs work for the request of ctx. The kernel interrupts a request for any
// signal, and for most of them the caller wants to go on waiting: a timer, a
// resized window. So an interrupt only starts a look at the caller, and the
// context that work gets ends when a fatal signal is pending there, or after
// the time allowed, which begins anew while a layer that is waited for comes. The request's own context must not outlive the request, and
// is not handed on.
func (m *mount) wait(ctx context.Context, work func(context.Context) error) error {
	own, interrupt := context.WithCancelCause(context.Background())
	defer interrupt(nil)
	timer := time.AfterFunc(m.opts.OpTimeout, func() { interrupt(errTimeout) })
	defer timer.Stop()
	own = tree.WithAdvanced(own, func() {
		if timer.Stop() { // else it was over
			timer.Reset(m.opts.OpTimeout)
		}
	})
	pid := callerPid(ctx)
	own = tree.WithCaller(own, sync.OnceValue(func() tree.Caller { return callerOf(pid) }))
	stop := context.AfterFunc(ctx, func() { awaitFatal(own, pid, interrupt) })
	defer stop()
	return work(own)
}

func callerPid(ctx context.Context) uint32 {
	if caller, ok := fuse.FromContext(ctx); ok {
		return caller.Pid
	}
	return 0
}

// callerOf is the program that a thread belongs to: the kernel names the thread
// (proc_pid_status(5)). Of one in another PID namespace nothing is known.
func callerOf(thread uint32) tree.Caller {
	if thread == 0 {
		return tree.Caller{}
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", thread))
	if err != nil {
		return tree.Caller{}
	}
	_, group, _ := bytes.Cut(status, []byte("\nTgid:"))
	group, _, _ = bytes.Cut(group, []byte("\n"))
	process, err := strconv.Atoi(string(bytes.TrimSpace(group)))
	if err != nil {
		return tree.Caller{}
	}
	// Not the name in the status: threads may have names of their own.
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", process))
	if err != nil {
		return tree.Caller{} // it has ended
	}
	return tree.Caller{Process: process, Name: string(bytes.TrimSuffix(name, []byte("\n")))}
}

// awaitFatal ends ctx once a fatal signal is pending for the caller, or where
// nobody can say: a process of another PID namespace has number 0.
func awaitFatal(ctx context.Context, pid uint32, interrupt context.CancelCauseFunc) {
	tick := time.NewTicker(signalPoll)
	defer tick.Stop()
	for {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if pid == 0 || err != nil || fatalPending(status) {
			interrupt(errInterrupted)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// fatalPending reads /proc/<pid>/status (proc_pid_status(5)). The kernel turns a
// signal whose default is to end the process (INT, TERM, HUP) into a pending
// SIGKILL; one that dumps core stays itself, and is fatal unless it is blocked,
// ignored or caught.
func fatalPending(status []byte) bool {
	mask := func(field string) uint64 {
		_, rest, ok := bytes.Cut(status, []byte("\n"+field+":"))
		if !ok {
			return 0
		}
		line, _, _ := bytes.Cut(rest, []byte("\n"))
		n, err := strconv.ParseUint(string(bytes.TrimSpace(line)), 16, 64)
		if err != nil {
			return 0
		}
		return n
	}
	pending := mask("SigPnd") | mask("ShdPnd")
	if pending&bit(syscall.SIGKILL) != 0 {
		return true
	}
	handled := mask("SigBlk") | mask("SigIgn") | mask("SigCgt")
	for _, s := range coreSignals {
		if pending&bit(s)&^handled != 0 {
			return true
		}
	}
	return false
}

// coreSignals are those whose default is to dump core (signal(7)): a terminal's
// Ctrl-\, a watchdog's ABRT, a limit of CPU time, and what somebody may send.
var coreSignals = [...]syscall.Signal{
	syscall.SIGQUIT, syscall.SIGILL, syscall.SIGTRAP, syscall.SIGABRT, syscall.SIGBUS,
	syscall.SIGFPE, syscall.SIGSEGV, syscall.SIGXCPU, syscall.SIGXFSZ, syscall.SIGSYS,
}

// bit is a signal's place in the masks of /proc.
func bit(s syscall.Signal) uint64 { return 1 << (s - 1) }
