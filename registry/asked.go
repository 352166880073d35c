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
func (r *Repository) CredentialSource() Source {
	if used := r.used.Load(); used != nil {
		return used.source
	}
	return ""
}

// CredentialFailure is what kept the registry from being asked with credentials
// last, such as a helper that is missing; nil where nothing did.
func (r *Repository) CredentialFailure() error {
	if used := r.used.Load(); used != nil {
		return used.failure
	}
	return nil
}

// refused makes the error of an answer that is none of those expected. One of a
// 401 or 403 knows what was asked with, but for those of another host, which was
// asked with nothing.
func (r *Repository) refused(op, ref string, resp *http.Response) error {
	err := answerError(op, ref, resp)
	if !isOwn(resp) {
		return err
	}
	return r.asked(err)
}

// asked adds to a 401 or 403 which credentials it was for. A copy is changed:
// those who wait for one first contact share its error.
func (r *Repository) asked(err error) error {
	var answered *Error
	if !errors.As(err, &answered) || !answered.Is(iofs.ErrPermission) {
		return err
	}
	told := *answered
	switch r.CredentialSource() {
	case Given:
		told.Asked = "with the user name and password given (--username)"
	case Docker:
		told.Asked = "with what docker is configured with"
	case Podman:
		told.Asked = "with what podman is logged in with"
	default:
		told.Asked = "without credentials"
		if failure := r.CredentialFailure(); failure != nil {
			told.Asked += ": " + failure.Error()
		}
	}
	return &told
}
