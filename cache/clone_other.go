//go:build !linux

package cache

import (
	"errors"
	"os"
)

func cloneRange(*os.File, int64, *os.File, int64, int64) error { return errors.ErrUnsupported }

func nameless(string) (*os.File, error) { return nil, errors.ErrUnsupported }

func reopen(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }
