package fs

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// keptErrors is how many errors `.ocidistfs/errors` shows.
const keptErrors = 100

// An ErrorLog keeps the last errors that the mount answered with, oldest first.
// It is safe for concurrent use.
type ErrorLog struct {
	now func() time.Time

	mu      sync.Mutex
	entries []logEntry // guarded by mu
}

type logEntry struct {
	At    time.Time `json:"time"`
	Path  string    `json:"path"`
	Errno string    `json:"errno"`
	Text  string    `json:"error"`
	Count int       `json:"count"` // of the same in a row
}

// NewErrorLog returns an empty log; nil is time.Now.
func NewErrorLog(now func() time.Time) *ErrorLog {
	if now == nil {
		now = time.Now
	}
	return &ErrorLog{now: now}
}

// Add takes note of an error at a path in the mount.
func (l *ErrorLog) Add(path string, err error) { l.add(path, err) }

// add does, and says whether it is news. The same in a row is counted, not
// repeated: one failing cat sends several reads, and a program that tries again
// does so a thousand times a second.
func (l *ErrorLog) add(path string, err error) (news bool) {
	e := logEntry{At: l.now(), Path: path, Errno: unix.ErrnoName(toErrno(err)), Text: oneLine(err.Error()), Count: 1}
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.entries); n > 0 {
		if last := &l.entries[n-1]; last.Path == e.Path && last.Text == e.Text {
			last.At, last.Count = e.At, last.Count+1
			return false
		}
	}
	if len(l.entries) == keptErrors {
		l.entries = append(l.entries[:0], l.entries[1:]...)
	}
	l.entries = append(l.entries, e)
	return true
}

// recent returns a copy of the entries.
func (l *ErrorLog) recent() []logEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]logEntry{}, l.entries...)
}

// text is the log as lines: time, path, errno, what was said.
func (l *ErrorLog) text() []byte {
	var b strings.Builder
	for _, e := range l.recent() {
		fmt.Fprintf(&b, "%s\t%s\t%s\t%s", e.At.UTC().Format(time.RFC3339), e.Path, e.Errno, e.Text)
		if e.Count > 1 {
			fmt.Fprintf(&b, " (%d times)", e.Count)
		}
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// maxText is how long an error may be there, in bytes.
const maxText = 1000

// oneLine keeps an error on its line.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "") + "…"
	}
	return s
}
