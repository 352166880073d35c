package main

import (
	"encoding/binary"
	"fmt"
	"os"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"
)

var hungCommands = map[string]scriptCommand{"hung": mountHung}

// mountHung is: hung PATH; a mount of ours whose process takes all requests and
// answers none, as one that was stopped in the middle of them. It lasts to the end
// of the script. Whoever asks it for anything can then not even be killed; the test's
// own process does not.
func mountHung(ts *testscript.TestScript, _ bool, args []string) {
	// Not blocking, so that closing it ends a read of it. Before something is mounted by
	// it, it cannot be waited for.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	ts.Check(err)
	data := fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)
	err = unix.Mount("ocidistfs", ts.MkAbs(args[0]), "fuse.ocidistfs", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV, data)
	device := os.NewFile(uintptr(fd), "/dev/fuse")
	b := benchOf(ts)
	b.hung = append(b.hung, device)
	ts.Check(err)
	// The first request is FUSE_INIT (fuse_in_header: length, opcode, unique, ...).
	// Before it is answered, with protocol 7.31 and nothing else, no other one comes.
	request := make([]byte, 1<<17)
	_, err = device.Read(request)
	ts.Check(err)
	le := binary.LittleEndian
	reply := make([]byte, 16+64) // fuse_out_header, fuse_init_out
	le.PutUint32(reply, uint32(len(reply)))
	copy(reply[8:16], request[8:16])
	le.PutUint32(reply[16:], 7)
	le.PutUint32(reply[20:], 31)
	le.PutUint32(reply[36:], 4096) // max_write
	_, err = device.Write(reply)
	ts.Check(err)
	go func() {
		for err := error(nil); err == nil; { // until it is closed
			_, err = device.Read(request)
		}
	}()
}
