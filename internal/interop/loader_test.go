package interop

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/ocidistfs/ocidistfs/internal/gate"
)

// reserve is what is left of the time when no more is loaded: when it is over,
// nobody ends what was started.
const reserve = 5 * time.Minute

// kept is what a loader keeps of an image, as the matrix has it.
type kept string

// The letters of kept, in this order.
const (
	// theName: the image is found by its name, host/repository:tag.
	theName = "N"
	// theTag: it is found by the tag alone.
	theTag = "T"
	// theDigest: the manifest is the registry's, byte for byte.
	theDigest = "D"
	// theConfig: the manifest is another one, of the same config: the image ID.
	theConfig = "C"
	// itRuns: a container of it says what it should.
	itRuns = "R"
	// theFiles: the file system is right, where nothing is run.
	theFiles = "F"
	// refused: the loader does not take the image.
	refused = kept("–")
)

// load loads an image straight from the mount and returns what was kept. An
// error means that the loader did not take it.
type load func(t *testing.T, im *image) (kept, error)

// A loader is a program that takes image.tar, and what is stated of it.
type loader struct {
	name     string
	programs []string // what it needs of the system's
	// start makes it ready, and returns its version too. What it starts ends with
	// the test.
	start func(t *testing.T, b *bench) (version string, load load)
	// keeps is what is kept of an image; of one without a name, all but that.
	keeps kept
	// others says what is kept instead of some images, by column.
	others map[string]kept
	// refuses says of images that are not taken, by column, what is said of them.
	refuses map[string]string
}

// states is what is stated of an image.
func (l *loader) states(im *image) kept {
	if _, ok := l.refuses[im.name]; ok {
		return refused
	}
	keeps, ok := l.others[im.name]
	if !ok {
		keeps = l.keeps
	}
	if im.tag == "" {
		keeps = kept(strings.NewReplacer(theName, "", theTag, "").Replace(string(keeps)))
	}
	return keeps
}

// test loads all images and holds the loader to what is stated.
func (l *loader) test(t *testing.T, b *bench) {
	for _, program := range l.programs {
		if _, err := exec.LookPath(program); err != nil {
			gate.Missing(t, "%s is not installed", program)
		}
	}
	version, load := l.start(t, b)
	row := &row{name: strings.TrimSpace(l.name + " " + version), cells: map[string]kept{}}
	measured.rows = append(measured.rows, row)
	for _, im := range b.images {
		if end, ok := t.Deadline(); ok && time.Until(end) < reserve {
			t.Fatal("no time is left for the rest")
		}
		t.Run(im.name, func(t *testing.T) {
			got, err := load(t, im)
			if err != nil {
				got = refused
				t.Logf("refused: %v", err)
				if want, stated := l.refuses[im.name]; stated && !strings.Contains(err.Error(), want) {
					t.Errorf("refused for another reason than %q", want)
				}
			}
			row.cells[im.name] = got
			if want := l.states(im); got != want {
				t.Errorf("kept %q, want %q", got, want)
			}
		})
	}
}

// when is a letter where its fact holds.
func when(holds bool, letter kept) kept {
	if holds {
		return letter
	}
	return ""
}
