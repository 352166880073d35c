package registry

import (
	"errors"
	iofs "io/fs"
	"net/http"
)

// credentialsUsed are what a registry was asked with; the failure is why there
// were none.
type credentialsUsed struct {
	source  Source
	failure error
}

// CredentialSource is where the credentials came from that the registry was asked
// with last; "" where it was asked without.
func (r *Repository) CredentialSource() Source { return r.usedLast().source }

// CredentialFailure is what kept the registry from being asked with credentials
// last, such as a helper that is missing; nil where nothing did.
func (r *Repository) CredentialFailure() error { return r.usedLast().failure }

// usedLast is what the registry itself was asked with, not its mirrors.
func (r *Repository) usedLast() credentialsUsed {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := len(r.known); n > 0 {
		return r.known[n-1].credentialsUsed()
	}
	return credentialsUsed{}
}

func (l *lane) credentialsUsed() credentialsUsed {
	if used := l.used.Load(); used != nil {
		return *used
	}
	return credentialsUsed{}
}

// refused makes the error of an answer that is none of those expected. One of a
// 401 or 403 knows what was asked with, but for those of another host, which was
// asked with nothing.
func (l *lane) refused(op, ref string, resp *http.Response) error {
	err := answerError(op, ref, resp)
	if !isOwn(resp) {
		return err
	}
	return l.asked(err)
}

// asked adds to a 401 or 403 which credentials it was for. A copy is changed:
// those who wait for one first contact share its error.
func (l *lane) asked(err error) error {
	var answered *Error
	if !errors.As(err, &answered) || !answered.Is(iofs.ErrPermission) {
		return err
	}
	told := *answered
	used := l.credentialsUsed()
	switch used.source {
	case Given:
		told.Asked = "with the user name and password given (--username)"
	case Docker:
		told.Asked = "with what docker is configured with"
	case Podman:
		told.Asked = "with what podman is logged in with"
	default:
		told.Asked = "without credentials"
		if used.failure != nil {
			told.Asked += ": " + used.failure.Error()
		}
	}
	return &told
}
