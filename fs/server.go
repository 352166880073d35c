// Package fs serves a tree through FUSE. It is the one package that knows the
// kernel: inodes and how long they are remembered, errno, signals, permissions,
// what may stay in the page cache.
//
// Mount serves, [Check] says beforehand why it could not, [Unmount] ends a mount
// from another process. A process must not touch its own mount: it would wait
// for itself.
package fs

import (
	"fmt"
	"log"
	"log/slog"
	"os"
	"sync"
	"time"

	fusefs "github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/ocidistfs/ocidistfs/fs/tree"
)

// typeName is what mounts are called in /proc/self/mountinfo: fuse.ocidistfs.
const typeName = "ocidistfs"

// Options are how a tree is served. The zero value works.
type Options struct {
	AllowOther bool   // others than the mounter may look, by mode bits
	UID, GID   uint32 // owner of everything
	Exec       bool   // programs that are in images may be run
	// OpTimeout ends an operation that takes longer; 0 is a minute.
	OpTimeout time.Duration
	Logger    *slog.Logger // nil discards
	// Memory is how many bytes of READs the kernel may have under way at once; 0 is as
	// many as it does best with.
	Memory int64
	// Status is shown in .ocidistfs/status.json; nil shows the errors alone. It
	// must not touch the mount.
	Status func() any
	// Errors takes the errors that are shown in .ocidistfs/errors; nil makes one.
	Errors *ErrorLog
}

const (
	// opTimeout is how long an operation may take, unless told otherwise.
	opTimeout = time.Minute
	// minRead and maxRead bound the largest READ that the kernel sends: less is a
	// call for every 32 pages, more it does not do.
	minRead = 128 << 10
	maxRead = 1 << 20
	// maxBackground is how many READs may wait at once before others have to: one
	// dead registry must not stop the rest.
	maxBackground = 256
	// maxInflight bounds the memory of requests as they come from the kernel. What
	// READs are answered with is not counted: readSize bounds that.
	maxInflight = 256 << 20
	// negativeLifetime is for how long the kernel remembers that a name does not
	// exist; the tree remembers longer where it may.
	negativeLifetime = time.Second
	// drainLimit is how long an unmount waits for files to be closed, and for copies of
	// the mount in other mount namespaces to go.
	drainLimit = 5 * time.Second
)

// A Server serves one mount.
type Server struct {
	mountpoint string
	device     string // of the mount, as in mountinfo
	fuse       *fuse.Server
	unmount    sync.Once
	unmountErr error
}

// Mount mounts root at the mountpoint and serves it until it is unmounted. The
// caller has asked [Check].
func Mount(mountpoint string, tree tree.Dir, opts Options) (*Server, error) {
	if opts.OpTimeout == 0 {
		opts.OpTimeout = opTimeout
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Errors == nil {
		opts.Errors = NewErrorLog(nil)
	}
	m := &mount{
		opts: opts, errors: opts.Errors, opens: newOpens(), inners: newInners(), crowd: newCrowd(), uid: uint32(os.Getuid()),
		passes: os.Geteuid() == 0, // the kernel asks for CAP_SYS_ADMIN
	}
	top := root{tree, newStatusDir(m)}
	asked := newKernel(m, m.wrap(top), &fusefs.Options{
		NullPermissions: true, // in an image there are files with none
		Logger:          log.New(logWriter{opts.Logger}, "", 0),
	})
	options := &fuse.MountOptions{
		FsName: typeName, Name: typeName,
		AllowOther:              opts.AllowOther,
		MaxWrite:                readSize(opts.Memory),
		MaxBackground:           maxBackground,
		MaxInflightRequestBytes: maxInflight,
		ExtraCapabilities:       fuse.CAP_READDIRPLUS_AUTO, // see listing.Lookup
		EnableSymlinkCaching:    true,                      // a link that leads elsewhere has another number
		DisableSplice:           true,                      // with reads of 1 MiB the pipe is too short
		PanicHandler: func(p any) fuse.Status {
			opts.Logger.Error("panic", "value", fmt.Sprint(p))
			m.errors.Add("", fmt.Errorf("panic: %v", p))
			return fuse.EIO
		},
		Logger: log.New(logWriter{opts.Logger}, "", 0),
	}
	restrict(options, opts.Exec)
	release, err := claim(mountpoint)
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	server, err := fuse.NewServer(asked, mountpoint, options)
	release()
	if err != nil {
		return nil, fmt.Errorf("mount %s: %w", mountpoint, err)
	}
	// There is no WaitMount: it opens a file of the mount, and a process that is killed
	// then is never gone. Its end closes that file first and waits for this very process
	// to answer, while /dev/fuse, whose end would end the wait, is still to be closed.
	// On Linux the kernel has greeted us by now, and who comes early waits.
	go server.Serve()
	if os.Geteuid() == 0 {
		raiseReadAhead(mountpoint, opts.Logger)
	}
	entry, _, err := mountAt(mountpoint)
	if err != nil {
		opts.Logger.Warn("what is mounted where cannot be read", "error", err)
	}
	return &Server{mountpoint: mountpoint, device: entry.device, fuse: server}, nil
}

// readSize is the largest READ. The library makes room for an answer before
// anybody is asked for it, and keeps that until it is sent, however long bytes are
// waited for: so it is the size of READs that bounds what hundreds of them hold, and
// not fewer of them, since one dead registry would have them all.
func readSize(memory int64) int {
	if memory == 0 {
		return maxRead
	}
	size := minRead
	for size < maxRead && int64(2*size)*maxBackground <= memory {
		size *= 2
	}
	return size
}

// Wait returns when the mount is gone, and all that was asked is answered.
func (s *Server) Wait() { s.fuse.Wait() }

// Unmount ends the mount. One that is in use disappears at once for everybody
// else, and is waited for, for a while. One that was taken away by somebody else
// is waited for too, and what is mounted in its place meanwhile is left alone.
func (s *Server) Unmount() error {
	s.unmount.Do(func() {
		if entry, _, err := mountAt(s.mountpoint); err != nil || entry.device == s.device {
			if s.unmountErr = unmountSoon(s.mountpoint); s.unmountErr != nil {
				return
			}
		}
		gone := make(chan struct{})
		go func() { s.fuse.Wait(); close(gone) }()
		select {
		case <-gone:
		case <-time.After(drainLimit):
			s.unmountErr = fmt.Errorf("unmount %s: it is still in use, by %s", s.mountpoint, whoever(s.device))
		}
	})
	return s.unmountErr
}

// unmountSoon takes the mount away: in an orderly way if whoever has just read something is
// done with it in a moment, and else from sight. The library's Unmount waits for the end of
// all that is asked, which may never come: a container that was started meanwhile has a copy
// of the mount.
func unmountSoon(mountpoint string) error {
	for pause := 5 * time.Millisecond; pause < 100*time.Millisecond; pause = 2*pause + 5*time.Millisecond {
		if unmountNow(mountpoint) == nil {
			return nil
		}
		time.Sleep(pause)
	}
	return detach(mountpoint)
}

// whoever names those who hold a device. They may be somebody's whom this user
// cannot see.
func whoever(device string) string {
	if held := holders(device); len(held) > 0 {
		return held.String()
	}
	return "a process of another user"
}

// logWriter gives what go-fuse has to say to the log.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(p []byte) (int, error) {
	w.log.Debug("fuse", "message", string(p))
	return len(p), nil
}
