package fs

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"

	"github.com/ocidistfs/ocidistfs/registry"
)

// keptErrors is how many errors `.ocidistfs/errors` shows.
const keptErrors = 100

// quietFor is how long an error must not have come for it to be news again.
const quietFor = time.Minute

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
	Count int       `json:"count"` // of the same, of which this is the last

	gist string // the text, without what is another each time
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

// add does, and says whether it is news. One that is there already is counted,
// not repeated: one failing cat sends several reads, and programs that try again
// do so a thousand times a second, two of them in turns.
func (l *ErrorLog) add(path string, err error) (news bool) {
	e := logEntry{At: l.now(), Path: path, Errno: unix.ErrnoName(toErrno(err)), Text: oneLine(reason(err)), Count: 1, gist: oneLine(gist(err))}
	l.mu.Lock()
	defer l.mu.Unlock()
	news = true
	same := slices.IndexFunc(l.entries, func(o logEntry) bool { return o.Path == e.Path && o.gist == e.gist })
	switch {
	case same >= 0:
		news = e.At.Sub(l.entries[same].At) >= quietFor
		e.Count += l.entries[same].Count
		l.entries = slices.Delete(l.entries, same, same+1)
	case len(l.entries) == keptErrors:
		l.entries = slices.Delete(l.entries, 0, 1)
	}
	l.entries = append(l.entries, e)
	return news
}

// reason is an error in words. Whoever is kept out is told who he was taken for.
func reason(err error) string {
	var answered *registry.Error
	if errors.As(err, &answered) && answered.Asked != "" {
		return err.Error() + "; asked " + answered.Asked
	}
	return err.Error()
}

// gist is an error in words, without what is another each time.
func gist(err error) string {
	text := reason(err)
	var answered *registry.Error
	if errors.As(err, &answered) && answered.Details != "" {
		text = strings.Replace(text, answered.Details, "", 1)
	}
	return text
}

// recent returns a copy of the entries.
func (l *ErrorLog) recent() []logEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]logEntry{}, l.entries...)
}

// last is the latest entry about a path or, where below, a name directly in it.
func (l *ErrorLog) last(at string, below bool) (logEntry, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range slices.Backward(l.entries) {
		in := path.Dir(e.Path)
		if in == "." {
			in = ""
		}
		if e.Path == at || below && e.Path != "" && in == at {
			return e, true
		}
	}
	return logEntry{}, false
}

// text is the log as lines.
func (l *ErrorLog) text() []byte {
	var b strings.Builder
	for _, e := range l.recent() {
		b.WriteString(e.line())
		b.WriteByte('\n')
	}
	return []byte(b.String())
}

// line is an entry in words: time, path, errno, what was said.
func (e logEntry) line() string {
	times := ""
	if e.Count > 1 {
		times = fmt.Sprintf(" (%d times)", e.Count)
	}
	return fmt.Sprintf("%s\t%s\t%s\t%s%s", e.At.UTC().Format(time.RFC3339), legiblePath(e.Path), e.Errno, e.Text, times)
}

// legiblePath is a path on one line, without what tells a terminal to do something: files in
// images have any names. One that has such characters is quoted as strings of Go are.
func legiblePath(path string) string {
	if !utf8.ValidString(path) || strings.ContainsFunc(path, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(path)
	}
	return path
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
