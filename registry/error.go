package registry

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"net/http"
	"net/url"
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
	Status int    // of HTTP; 0 where no answer came, or none that is about Ref
	Err    error  // what the registry said, or what kept it from answering
	// Asked is which credentials a 401 or 403 of the registry was for, never what
	// they are: "with …" or "without credentials", and why there are none. It is not
	// in the error's text, for those who tell it in words of their own.
	Asked string
	// Details are what is another each time: by which number the registry finds the
	// request, for how long it wants to be left alone. They are in the error's text, in
	// brackets at its end; "" is none.
	Details string
	// Mirrors is what the registry's mirrors said that were asked before it; "" where
	// none was. What the error is, the registry alone decides.
	Mirrors string
}

func (e *Error) Error() string {
	text := fmt.Sprintf("%s %s: %v", e.Op, e.Ref, e.Err)
	if e.Details != "" {
		text += " (" + e.Details + ")"
	}
	if e.Mirrors != "" {
		text += " (asked before: " + e.Mirrors + ")"
	}
	// Not only what a registry says is its own: so are the names in its certificate.
	return printable(text)
}

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
			messages = append(messages, said(redacted(string(d.Code), answered.Request), redacted(d.Message, answered.Request)))
		}
		e.Err = statusError(answered.StatusCode, messages)
	}
	return e
}

// sendError is what kept an http.Client from an answer, without the address,
// which a redirect may have signed; or why its caller left.
func sendError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	var sent *url.Error
	if errors.As(err, &sent) {
		return sent.Err
	}
	return err
}

// contactError makes an Error of what kept a registry from being known. That
// there is no such page, at its root or its token server, does not say that
// anything in the registry does not exist.
func contactError(op, ref string, err error) error {
	// A host that may be spoken to without TLS was tried so too. What it made of
	// that says less than its certificate.
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return &Error{Op: op, Ref: ref, Err: certificate}
	}
	err = wrap(op, ref, err)
	var e *Error
	if errors.As(err, &e) && e.Status == http.StatusNotFound {
		return &Error{Op: e.Op, Ref: e.Ref, Err: fmt.Errorf("%w: %w", ErrProtocol, e.Err)}
	}
	return err
}

// isOwn says whether an answer is the registry's own, or that of a registry that
// it sent us to; and not that of a store of blobs.
func isOwn(resp *http.Response) bool {
	_, first := redirects(resp.Request)
	return resp.Request.URL.Host == first.Host || strings.HasPrefix(resp.Request.URL.Path, "/v2/")
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
			messages = append(messages, said(redacted(d.Code, resp.Request), redacted(d.Message, resp.Request)))
		}
	}
	err := statusError(resp.StatusCode, messages)
	if resp.StatusCode == http.StatusNotFound && !isOwn(resp) {
		return &Error{Op: op, Ref: ref, Err: fmt.Errorf("%w: redirected to %s: %w", ErrProtocol, resp.Request.URL.Host, err), Details: details(resp)}
	}
	return &Error{Op: op, Ref: ref, Status: resp.StatusCode, Err: err, Details: details(resp)}
}

// said is one error of the registry, fit for a line of a log.
func said(code, message string) string {
	if message == "" {
		message = strings.ToLower(strings.ReplaceAll(code, "_", " "))
	}
	message = printable(message)
	if len(message) > 300 {
		message = strings.ToValidUTF8(message[:300], "") + "…"
	}
	return message
}

// printable is a text without what would end its line, or move or color a terminal.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) && r != unicode.ReplacementChar {
			return r
		}
		return -1
	}, text)
}

// maxMessages is how many of a registry's errors are told; the first says it.
const maxMessages = 3

func statusError(status int, messages []string) error {
	text := strings.TrimSpace(fmt.Sprintf("%d %s", status, http.StatusText(status)))
	if len(messages) > 0 {
		messages = messages[:min(len(messages), maxMessages)]
		text += ": " + strings.Join(messages, "; ")
	}
	return errors.New(text)
}
