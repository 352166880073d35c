package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/fs"
)

// TestProbe has programs in place of ours that answer in other ways.
func TestProbe(t *testing.T) {
	left, leave := context.WithCancel(t.Context())
	leave()
	for name, c := range map[string]struct {
		ctx    context.Context
		script string
		limit  time.Duration
		want   func(answer, error) bool
	}{
		"well, and does not end": {
			t.Context(), `echo '{"Path": "/m", "Status": "e30="}'; exec sleep 60`, time.Minute,
			func(a answer, err error) bool { return err == nil && a.Path == "/m" && string(a.Status) == "{}" },
		},
		"an error": {
			t.Context(), `echo '{"Path": "/m", "Failed": {"Text": "gone", "State": "stale"}}'`, time.Minute,
			func(a answer, err error) bool {
				return a.Path == "/m" && errors.Is(err, fs.ErrStale) && !errors.Is(err, fs.ErrSilent) && err.Error() == "gone"
			},
		},
		"silent": {
			t.Context(), `exec sleep 60`, 50 * time.Millisecond,
			func(_ answer, err error) bool { return errors.Is(err, fs.ErrSilent) },
		},
		"nobody waits for it": {
			left, `exec sleep 60`, time.Minute,
			func(_ answer, err error) bool { return errors.Is(err, context.Canceled) },
		},
		"wordless": {
			t.Context(), `exit 1`, time.Minute,
			func(_ answer, err error) bool { return err != nil && strings.Contains(err.Error(), "without a word") },
		},
		"nothing of ours is open": {
			t.Context(), `test -e /proc/self/fd/1 && ls -l /proc/$$/fd | grep -c /dev/null | { read n; test $n = 2 && echo '{"Path": "/m"}'; }`, time.Minute,
			func(a answer, err error) bool { return err == nil && a.Path == "/m" },
		},
	} {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "program")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+c.script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
			look := probe{Do: readStatus, Path: "/m"}
			a, err := look.runAs(c.ctx, program, c.limit)
			if !c.want(a, err) {
				t.Errorf("%+v, %v", a, err)
			}
		})
	}
}

// What is known of an error here is known after it came through the pipe.
func TestRelayed(t *testing.T) {
	for _, is := range []error{fs.ErrNotMounted, fs.ErrStale, fs.ErrSilent, os.ErrPermission, errors.New("another")} {
		err := fmt.Errorf("status m: %w", is)
		b, failed := json.Marshal(answer{Failed: &relayed{err.Error(), stateOf(err)}})
		if failed != nil {
			t.Fatal(failed)
		}
		var a answer
		if err := json.Unmarshal(b, &a); err != nil {
			t.Fatal(err)
		}
		if a.Failed.Error() != err.Error() || stateOf(a.Failed) != stateOf(err) || errors.Is(a.Failed, is) != (stateOf(is) != stateUnknown) {
			t.Errorf("%v became %+v", err, a.Failed)
		}
	}
}
