package fs

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net"
	"net/http"
	"os"
	"syscall"
	"testing"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// errnoCases is the table of docs/semantics.md.
var errnoCases = []struct {
	name string
	err  error
	want syscall.Errno
}{
	{"nothing", nil, 0},
	{"404", answer(404), syscall.ENOENT},
	{"name that cannot be", iofs.ErrNotExist, syscall.ENOENT},
	{"no platform", fmt.Errorf("x: %w", tree.ErrNoPlatform), syscall.ENOENT},
	{"no image", fmt.Errorf("x: %w", tree.ErrNotImage), syscall.ENOENT},
	{"401", answer(401), syscall.EACCES},
	{"403", answer(403), syscall.EACCES},
	{"mode bits", errDenied, syscall.EACCES},
	{"indexer", fmt.Errorf("x: %w", tree.ErrCrawler), syscall.EACCES},
	{"offline", fmt.Errorf("x: %w", tree.ErrOffline), syscall.ENETUNREACH},
	{"host that is not served", errors.Join(registry.ErrNotAllowed, iofs.ErrNotExist), syscall.EACCES},
	{"registry's 404 after its mirrors", &registry.Error{Op: "get", Ref: "a", Status: 404, Err: errors.New("said"), Mirrors: "x: 503"}, syscall.ENOENT},
	{"429", answer(429), syscall.EAGAIN},
	{"500", answer(500), remoteIO},
	{"503", answer(503), remoteIO},
	{"400", answer(400), syscall.EPROTO},
	{"416", answer(416), syscall.EPROTO},
	{"protocol", wrapped(registry.ErrProtocol), syscall.EPROTO},
	{"redirect", wrapped(registry.ErrRedirect), syscall.EPROTO},
	{"plain HTTP", wrapped(registry.ErrPlainHTTP), syscall.EPROTO},
	{"plain HTTP where TLS is spoken", wrapped(http.ErrSchemeMismatch), syscall.EPROTO},
	{"certificate", wrapped(x509.UnknownAuthorityError{}), syscall.EPROTO},
	{"stall", wrapped(registry.ErrStalled), syscall.ETIMEDOUT},
	{"deadline", wrapped(context.DeadlineExceeded), syscall.ETIMEDOUT},
	{"operation", errTimeout, syscall.ETIMEDOUT},
	{"network timeout", wrapped(&net.OpError{Err: os.ErrDeadlineExceeded}), syscall.ETIMEDOUT},
	{"refused", wrapped(&net.OpError{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}), syscall.ECONNREFUSED},
	{"no such host", wrapped(&net.DNSError{IsNotFound: true}), syscall.EHOSTUNREACH},
	{"no address", wrapped(&net.AddrError{Err: "no suitable address found", Addr: "x"}), syscall.EHOSTUNREACH},
	{"no route", wrapped(os.NewSyscallError("connect", syscall.EHOSTUNREACH)), syscall.EHOSTUNREACH},
	{"no network", wrapped(os.NewSyscallError("connect", syscall.ENETUNREACH)), syscall.EHOSTUNREACH},
	{"blob that is another", fmt.Errorf("x: %w", cache.ErrMismatch), syscall.EBADMSG},
	{"manifest that is another", wrapped(registry.ErrMismatch), syscall.EBADMSG},
	{"too large", wrapped(registry.ErrTooLarge), syscall.EFBIG},
	{"cache directory full", &iofs.PathError{Op: "write", Err: syscall.ENOSPC}, syscall.ENOSPC},
	{"cache directory gone", &iofs.PathError{Op: "open", Err: syscall.ENOENT}, syscall.EIO},
	{"fatal signal", errInterrupted, syscall.EINTR},
	// What is cancelled inside is no signal: EINTR would make the reader try again
	// for ever.
	{"cancelled inside", context.Canceled, syscall.EIO},
	{"cut", wrapped(io.ErrUnexpectedEOF), syscall.EIO},
	{"not supported", errors.ErrUnsupported, syscall.EIO},
	{"ENOSYS", syscall.ENOSYS, syscall.EIO},
	{"anything", errors.New("anything"), syscall.EIO},
}

func answer(status int) error {
	return fmt.Errorf("x: %w", &registry.Error{Op: "get", Ref: "a", Status: status, Err: errors.New("said")})
}

func wrapped(err error) error { return &registry.Error{Op: "get", Ref: "a", Err: err} }

func TestErrno(t *testing.T) {
	for _, c := range errnoCases {
		if got := toErrno(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
		// Joined errors keep their meaning, whatever else failed beside.
		if c.err != nil {
			if got := toErrno(errors.Join(c.err, errors.New("and another"))); got != c.want {
				t.Errorf("%s, joined: %v, want %v", c.name, got, c.want)
			}
		}
	}
}

func TestNews(t *testing.T) {
	for _, err := range []error{nil, answer(404), iofs.ErrNotExist, errInterrupted, tree.ErrCrawler} {
		if isNews(err) {
			t.Errorf("%v is logged", err)
		}
	}
	for _, err := range []error{answer(403), answer(500), registry.ErrNotAllowed, tree.ErrNoPlatform, tree.ErrNotImage, errTimeout, tree.ErrOffline, errors.New("x")} {
		if !isNews(err) {
			t.Errorf("%v is not logged", err)
		}
	}
}
