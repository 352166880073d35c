package registry

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"strings"
	"unicode"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
)

var (
	// ErrTooLarge is an answer longer than any honest one.
	ErrTooLarge = errors.New("the answer is too large")
	// ErrMismatch is content that is not what its digest or size says.
	ErrMismatch = errors.New("content does not match its digest")
	// ErrProtocol is an answer that the protocol does not allow.
	ErrProtocol = errors.New("the answer breaks the protocol")
	// ErrPlainHTTP is a request that would have gone over the network without TLS.
	ErrPlainHTTP = errors.New("plain HTTP is for loopback only; name the host with --insecure to allow it")
	// ErrRedirect is a redirect that is not followed.
	ErrRedirect = errors.New("redirect refused")
	// ErrStalled is a connection on which nothing came for too long.
	ErrStalled error = stalled{}
)

// stalled is a timeout to those who ask as net.Error does.
type stalled struct{}

func (stalled) Error() string   { return "no answer within the time allowed" }
func (stalled) Timeout() bool   { return true }
func (stalled) Temporary() bool { return true }

// An Error says what was asked of a registry, and what came back. It is
// io/fs.ErrNotExist for a 404 and io/fs.ErrPermission for a 401 or 403.
type Error struct {
	Op     string // such as "get manifest"
	Ref    string // what it was about, with the host
	Status int    // of HTTP; 0 where no answer came
	Err    error  // what the registry said, or what kept it from answering
}

func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Ref, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// Is makes the statuses that mean something everywhere comparable.
func (e *Error) Is(target error) bool {
	switch target {
	case iofs.ErrNotExist:
		return e.Status == http.StatusNotFound
	case iofs.ErrPermission:
		return e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden
	}
	return false
}

// wrap makes an Error of what a transport returned. An Error stays as it is.
func wrap(op, ref string, err error) error {
	var already *Error
	if errors.As(err, &already) {
		return err
	}
	e := &Error{Op: op, Ref: ref, Err: err}
	var answered *transport.Error
	if errors.As(err, &answered) {
		e.Status = answered.StatusCode
		messages := make([]string, 0, len(answered.Errors))
		for _, d := range answered.Errors {
			messages = append(messages, said(string(d.Code), d.Message))
		}
		e.Err = statusError(answered.StatusCode, messages)
	}
	return e
}

// maxErrorBody bounds what is read of an error's document.
const maxErrorBody = 8 << 10

// answerError makes an Error of an answer that is none of those expected. It
// reads the body, and leaves closing it to the caller.
func answerError(op, ref string, resp *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody)) // what came is enough
	var document struct {
		Errors []struct {
			Code    string `json:"code"`
			Message string `json:"message"`
		} `json:"errors"`
	}
	var messages []string
	if json.Unmarshal(body, &document) == nil {
		for _, d := range document.Errors {
			messages = append(messages, said(d.Code, d.Message))
		}
	}
	return &Error{Op: op, Ref: ref, Status: resp.StatusCode, Err: statusError(resp.StatusCode, messages)}
}

// said is one error of the registry, fit for a line of a log.
func said(code, message string) string {
	if message == "" {
		message = strings.ToLower(strings.ReplaceAll(code, "_", " "))
	}
	message = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, message)
	if len(message) > 300 {
		message = strings.ToValidUTF8(message[:300], "") + "…"
	}
	return message
}

func statusError(status int, messages []string) error {
	text := fmt.Sprintf("%d %s", status, http.StatusText(status))
	if len(messages) > 0 {
		text += ": " + strings.Join(messages, "; ")
	}
	return errors.New(text)
}
