package fs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	iofs "io/fs"
	"net"
	"net/http"
	"syscall"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

var (
	// errInterrupted ends a call whose caller has a fatal signal pending. It is
	// the only error that becomes EINTR: a program whose read is interrupted
	// without a signal tries again for ever.
	errInterrupted = errors.New("interrupted by a fatal signal")
	// errTimeout ends a call that took longer than OpTimeout.
	errTimeout = errors.New("no answer within the time allowed for an operation")
	errDenied  = errors.New("permission denied by the file's mode")
)

// toErrno is the one place that knows errno. It is total: what it does not know
// is EIO, and nothing is ENOSYS, which the kernel would take for "never ask
// again".
func toErrno(err error) syscall.Errno {
	var path *iofs.PathError
	var answered *registry.Error
	var dns *net.DNSError
	var address *net.AddrError
	var timeout net.Error
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted):
		return syscall.EINTR
	case errors.Is(err, errTimeout):
		return syscall.ETIMEDOUT
	case errors.Is(err, errCrowded):
		return syscall.EAGAIN
	case errors.Is(err, errDenied), errors.Is(err, tree.ErrCrawler), errors.Is(err, registry.ErrNotAllowed):
		return syscall.EACCES
	case errors.Is(err, tree.ErrOffline):
		// The one error of that number: that the network cannot be reached otherwise
		// is EHOSTUNREACH.
		return syscall.ENETUNREACH
	case errors.Is(err, cache.ErrMismatch), errors.Is(err, registry.ErrMismatch):
		return syscall.EBADMSG
	case errors.Is(err, registry.ErrTooLarge):
		return syscall.EFBIG
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return syscall.ENOSPC
	case errors.As(err, &path):
		// A file of the cache. That it is missing says nothing of the registry.
		return syscall.EIO
	case errors.As(err, &answered) && answered.Status != 0:
		return fromStatus(answered.Status)
	case errors.Is(err, tree.ErrNoPlatform), errors.Is(err, tree.ErrNotImage), errors.Is(err, iofs.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, syscall.ECONNREFUSED):
		return syscall.ECONNREFUSED
	case errors.As(err, &dns) && dns.IsNotFound, errors.As(err, &address), errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return syscall.EHOSTUNREACH
	case errors.Is(err, registry.ErrPlainHTTP), errors.Is(err, registry.ErrRedirect), errors.Is(err, registry.ErrProtocol),
		errors.Is(err, http.ErrSchemeMismatch), isTLS(err):
		return syscall.EPROTO
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return syscall.ETIMEDOUT
	}
	return syscall.EIO
}

func fromStatus(status int) syscall.Errno {
	switch {
	case status == http.StatusNotFound:
		return syscall.ENOENT
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return syscall.EACCES
	case status == http.StatusTooManyRequests:
		return syscall.EAGAIN
	case status >= 500:
		return remoteIO
	}
	return syscall.EPROTO
}

func isTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var alert tls.AlertError
	var authority x509.UnknownAuthorityError
	var name x509.HostnameError
	var invalid x509.CertificateInvalidError
	return errors.As(err, &verification) || errors.As(err, &record) || errors.As(err, &alert) ||
		errors.As(err, &authority) || errors.As(err, &name) || errors.As(err, &invalid)
}

// isNews says whether an error belongs into the log of errors: a name that does
// not exist is an answer like any other, unless there is a reason to tell. What a
// crawler does not get is told once, by the tree: it would push all else out.
func isNews(err error) bool {
	if errors.Is(err, tree.ErrCrawler) {
		return false
	}
	if errors.Is(err, tree.ErrNoPlatform) || errors.Is(err, tree.ErrNotImage) {
		return true
	}
	errno := toErrno(err)
	return errno != 0 && errno != syscall.ENOENT && errno != syscall.EINTR
}
