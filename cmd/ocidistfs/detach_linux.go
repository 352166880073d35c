package main

import (
	"math"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// detach makes a program that is about to be started independent of this one: in
// a session of its own, without the terminal, and without the files that whoever
// started this one left open (a shell's lock, a test's pipe).
func detach(c *exec.Cmd) {
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) // Linux 5.11; before that they stay
}
