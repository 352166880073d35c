//go:build !linux

package fs

import (
	"errors"
	"log/slog"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// remoteIO is for a registry that failed.
const remoteIO = syscall.EIO

var errLinuxOnly = errors.New("mounts are for Linux; the commands tags, manifest and pull work here too")

func restrict(*fuse.MountOptions, bool)   {}
func raiseReadAhead(string, *slog.Logger) {}
func mountTable() ([]mountEntry, error)   { return nil, errLinuxOnly }
func detach(string) error                 { return errLinuxOnly }
func unmountNow(string) error             { return errLinuxOnly }
func checkSystem(bool) error              { return errLinuxOnly }
func mayMountAt(string) error             { return errLinuxOnly }
func holders(string) Holders              { return nil }
func claim(string) (func(), error)        { return nil, errLinuxOnly }
