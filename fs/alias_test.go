package fs

import (
	"errors"
	"net/http"
	"os/exec"
)

// Short names for what a registrytest.Fault takes.
type (
	responseWriter = http.ResponseWriter
	request        = http.Request
	handlerFunc    = http.HandlerFunc
)

func asExit(err error, exit **exec.ExitError) bool { return errors.As(err, exit) }
