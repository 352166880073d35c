package cache

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// childVariable names what a second process of the test binary is to do, and
// childDir where.
const (
	childVariable = "OCIDISTFS_CACHE_TEST_CHILD"
	childDir      = "OCIDISTFS_CACHE_TEST_DIR"
	childSize     = 4 << 20
)

func TestMain(m *testing.M) {
	children := map[string]func(from *source, r *Reader) error{
		"hang":  hangingChild,
		"share": sharingChild,
		"fill":  fillingChild,

		"layer hang":  hangingLayerChild,
		"layer share": sharingLayerChild,
		"layer fill":  fillingLayerChild,
	}
	child, ok := children[os.Getenv(childVariable)]
	if !ok {
		os.Exit(m.Run())
	}
	dir := os.Getenv(childDir)
	from, d := newSource(childSize)
	s, err := Open(dir, Options{})
	if err == nil {
		var r *Reader
		if r, err = s.Repository(testRepository).Blob(d, childSize, from).Open(context.Background()); err == nil {
			err = child(from, r)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A child is a second process on one directory.
type child struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startChild(t *testing.T, what, dir string) *child {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("processes share a directory on Linux")
	}
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(t.Context(), binary)}
	c.Env = append(os.Environ(), childVariable+"="+what, childDir+"="+dir)
	c.Stderr = os.Stderr
	if c.in, err = c.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewReader(out)
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	return c
}

// line is the next that the child says.
func (c *child) line(t *testing.T) string {
	t.Helper()
	line, err := c.out.ReadString('\n')
	if err != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
	return strings.TrimSpace(line)
}

// whileReading does something in the middle of a body.
type whileReading struct{ do func() }

func (w *whileReading) Read([]byte) (int, error) {
	w.do()
	return 0, io.EOF
}

// childStored is what the child that is killed has stored by then.
const childStored = childSize/2 + 5*chunkSize

// hangingChild reads half of the blob, and hangs in the middle of the rest.
func hangingChild(from *source, r *Reader) error {
	if _, err := r.ReadAt(context.Background(), make([]byte, childSize/2), 0); err != nil {
		return err
	}
	hang := &whileReading{func() {
		fmt.Println("hangs")
		_, _ = io.Copy(io.Discard, os.Stdin) // as long as the parent lives
	}}
	from.serve = func(_ int, body io.Reader) (io.Reader, error) {
		return io.MultiReader(io.LimitReader(body, 5*chunkSize+100), hang), nil
	}
	prefetch(r, childSize/2, childSize/2)
	_, err := r.ReadAt(context.Background(), make([]byte, 1), childSize-1)
	return err
}

// TestKilled kills a process in the middle of a download: another fetches what
// is missing, and no more.
func TestKilled(t *testing.T) {
	dir := t.TempDir()
	c := startChild(t, "hang", dir)
	if line := c.line(t); line != "hangs" {
		t.Fatalf("the child said %q", line)
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = c.Wait() // it was killed
	from, d := newSource(childSize)
	r := openBlob(t, openStore(t, dir), d, childSize, from)
	mustRead(t, r, from.content)
	if _, sent := from.counts(); sent != childSize-childStored {
		t.Errorf("%d bytes fetched after the kill, want the missing %d", sent, childSize-childStored)
	}
	if !r.Verified() {
		t.Error("it is not verified")
	}
}

// TestKilledWhileWaitedFor kills a process that another waits for.
func TestKilledWhileWaitedFor(t *testing.T) {
	dir := t.TempDir()
	c := startChild(t, "hang", dir)
	if line := c.line(t); line != "hangs" {
		t.Fatalf("the child said %q", line)
	}
	from, d := newSource(childSize)
	r := openBlob(t, openStore(t, dir), d, childSize, from)
	mustReadAt(t, r, from.content, 0, childStored) // what it has brought so far
	if requests, _ := from.counts(); requests != 0 {
		t.Errorf("%d requests for what is there", requests)
	}
	read := make(chan struct{})
	go func() { mustRead(t, r, from.content); close(read) }()
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	<-read
	if _, sent := from.counts(); sent != childSize-childStored {
		t.Errorf("%d bytes fetched, want the missing %d", sent, childSize-childStored)
	}
}

// sharingChild fetches the first half of the blob once it is told to, reads all,
// and says how much it fetched.
func sharingChild(from *source, r *Reader) error {
	in := bufio.NewReader(os.Stdin)
	wait := &whileReading{func() {
		fmt.Println("has the lease")
		_, _ = in.ReadString('\n')
	}}
	from.serve = func(request int, body io.Reader) (io.Reader, error) {
		if request == 1 {
			return io.MultiReader(wait, body), nil
		}
		return body, nil
	}
	prefetch(r, 0, childSize/2)
	p := make([]byte, childSize)
	if _, err := r.ReadAt(context.Background(), p, 0); err != nil {
		return err
	}
	if string(p) != string(from.content) {
		return fmt.Errorf("the child read %d bytes that are not the blob", len(p))
	}
	_, sent := from.counts()
	fmt.Println(sent)
	return nil
}

// TestTwoProcesses has two processes that need all of one blob: together they
// fetch each byte once.
func TestTwoProcesses(t *testing.T) {
	dir := t.TempDir()
	c := startChild(t, "share", dir)
	if line := c.line(t); line != "has the lease" {
		t.Fatalf("the child said %q", line)
	}
	from, d := newSource(childSize)
	r := openBlob(t, openStore(t, dir), d, childSize, from)
	prefetch(r, 0, childSize) // the first half of which it waits for
	mustReadAt(t, r, from.content, childSize-chunkSize, chunkSize)
	if _, err := io.WriteString(c.in, "go on\n"); err != nil {
		t.Fatal(err)
	}
	mustRead(t, r, from.content)
	var sentByChild int64
	if _, err := fmt.Sscan(c.line(t), &sentByChild); err != nil {
		t.Fatal(err)
	}
	if err := c.Wait(); err != nil {
		t.Error(err)
	}
	if _, sent := from.counts(); sent+sentByChild != childSize {
		t.Errorf("%d and %d bytes fetched by two processes, want each once: %d", sent, sentByChild, childSize)
	}
}

const fillLimit = 4 << 20

// fillingChild fills the directory with blobs, one after the other, within a limit,
// until it is killed.
func fillingChild(_ *source, r *Reader) error {
	s, err := Open(r.content.store.dir, Options{MaxBytes: fillLimit})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		from, d := newSource(700_000 + i%50*1000)
		r, err := s.Repository(testRepository).Blob(d, int64(len(from.content)), from).Open(context.Background())
		if err != nil {
			return err
		}
		p := make([]byte, len(from.content))
		if _, err := r.ReadAt(context.Background(), p, 0); err != nil || !bytes.Equal(p, from.content) {
			return fmt.Errorf("%d bytes: %w", len(p), err)
		}
		if err := r.Close(); err != nil {
			return err
		}
		fmt.Println("read")
	}
}

// TestKilledWhileFilling kills processes that fill a directory and evict, at any
// moment: what they leave is sound, within the limit, and fit to go on with.
func TestKilledWhileFilling(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(6, 6))
	for range 8 {
		a, b := startChild(t, "fill", dir), startChild(t, "fill", dir)
		for range 5 + random.IntN(15) {
			a.line(t)
		}
		b.line(t)
		for _, c := range []*child{a, b} {
			if err := c.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = c.Wait() // it was killed
		}
		if n := takesAtOnce(t, dir); n > fillLimit+2*minStep {
			t.Errorf("%d bytes, the limit is %d", n, fillLimit)
		}
		v, err := Verify(t.Context(), dir)
		if err != nil || len(v.Damaged) > 0 {
			t.Errorf("%+v, %v", v, err)
		}
	}
}
