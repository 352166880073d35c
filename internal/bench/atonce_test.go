package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"
	"time"
)

// runAtOnce runs commands that have to succeed, all at once.
func runAtOnce(ctx context.Context, t *testing.T, commands []command) []finished {
	t.Helper()
	took, failures := make([]finished, len(commands)), make([]error, len(commands))
	var all sync.WaitGroup
	for i, c := range commands {
		all.Go(func() { took[i], failures[i] = c.run(ctx) })
	}
	all.Wait()
	if err := errors.Join(failures...); err != nil {
		t.Fatal(err)
	}
	return took
}

// spread says how far those who ran at once are apart: whether one starved.
func spread(took []finished) string {
	if len(took) < 2 {
		return ""
	}
	fastest, slowest := took[0].wall, time.Duration(0)
	for _, f := range took {
		fastest, slowest = min(fastest, f.wall), max(slowest, f.wall)
	}
	return fmt.Sprintf("slowest/fastest %.2f", slowest.Seconds()/fastest.Seconds())
}

// readFile reads a file, so that it is in memory.
func readFile(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, f, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
}
