package rootfs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ocidistfs/ocidistfs/fs/readat"
)

func TestNoTOC(t *testing.T) {
	blob, stargz := built()(t, tiny(t))
	_, chunked := podmanChunked(t, tiny(t))
	plain := gzipped(6, nil)(t, tiny(t))
	at := func(position string) map[string]string {
		return map[string]string{chunkedKeys[0].position: position, chunkedKeys[0].checksum: digestOf(nil).String()}
	}
	for name, c := range map[string]struct {
		blob        []byte
		annotations map[string]string
	}{
		"no annotation":            {blob, nil},
		"no footer":                {plain, stargz},
		"an empty layer":           {nil, stargz},
		"not a digest":             {blob, map[string]string{stargzDigest: "sha256:xyz"}},
		"a position behind it":     {plain, chunked},
		"no checksum":              {blob, map[string]string{chunkedKeys[1].position: "10:10:10:1"}},
		"no position":              {blob, at("")},
		"three numbers":            {blob, at("10:10:10")},
		"another kind":             {blob, at("10:10:10:2")},
		"less than zero":           {blob, at("10:-10:10:1")},
		"not numbers":              {blob, at("a:b:c:d")},
		"too large":                {blob, at("9223372036854775807:9223372036854775807:10:1")},
		"where there is something": {blob, at("10:10:10:1")},
		"before everything":        {blob, at("0:10:10:1")},
	} {
		if x, err := OpenTOC(t.Context(), digestOf(nil), readat.Bytes(c.blob), c.annotations, nil); x != nil || !errors.Is(err, ErrNoTOC) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestUnusableTOC has the right digest each time: what is in it is wrong.
func TestUnusableTOC(t *testing.T) {
	digest := digestOf([]byte("text")).String()
	file := func(more string) string {
		return `{"type":"reg","name":"f","size":4,"offset":5,` + more + `}`
	}
	good := file(`"digest":"` + digest + `"`)
	chunk := func(more string) string {
		return `{"type":"chunk","name":"f","chunkDigest":"` + digest + `",` + more + `}`
	}
	for name, entries := range map[string]string{
		"no JSON":                    `{]`,
		"cut":                        good + `,{"type":"reg"`,
		"not UTF-8":                  "{\"type\":\"dir\",\"name\":\"a\xff\"}",
		"was not UTF-8":              `{"type":"dir","name":"a\ufffd"}`,
		"a target that was not":      `{"type":"symlink","name":"a","linkName":"\ufffd"}`,
		"an attribute that was not":  `{"type":"dir","name":"a","xattrs":{"user.\ufffd":""}}`,
		"unknown type":               `{"type":"socket","name":"a"}`,
		"no time":                    `{"type":"dir","name":"a","modtime":"yesterday"}`,
		"attribute not base64":       `{"type":"dir","name":"a","xattrs":{"user.a":"*"}}`,
		"a number too large":         `{"type":"dir","name":"a","uid":99999999999999999999}`,
		"a chunk of nothing":         chunk(`"offset":5`),
		"a chunk of a whole file":    good + `,` + chunk(`"offset":6`),
		"no digest":                  file(`"mode":1`),
		"digest of another kind":     file(`"digest":"sha512:` + strings.Repeat("0", 128) + `"`),
		"digest of a part":           file(`"digest":"` + digest + `","chunkSize":2`),
		"bytes missing":              file(`"chunkDigest":"` + digest + `","chunkSize":3`),
		"bytes missing, then a file": file(`"chunkDigest":"`+digest+`","chunkSize":3`) + `,` + good,
		"a gap":                      file(`"chunkDigest":"`+digest+`","chunkSize":2`) + `,` + chunk(`"offset":6,"chunkOffset":3,"chunkSize":1`),
		"too many bytes":             file(`"chunkDigest":"`+digest+`","chunkSize":2`) + `,` + chunk(`"offset":6,"chunkOffset":2,"chunkSize":3`),
		"size below zero":            `{"type":"reg","name":"f","size":-4}`,
		"size without end":           `{"type":"reg","name":"f","size":9223372036854775807,"offset":5,"digest":"` + digest + `"}`,
		"unknown kind of chunk":      file(`"chunkType":"noise","digest":"` + digest + `"`),
		"outside":                    `{"type":"reg","name":"f","size":4,"offset":20000,"digest":"` + digest + `"}`,
		"offset below zero":          `{"type":"reg","name":"f","size":4,"offset":-1,"digest":"` + digest + `"}`,
		"inner offset below zero":    file(`"digest":"` + digest + `","innerOffset":-1`),
		"inner offset too large":     file(`"digest":"` + digest + `","innerOffset":4294967296`),
		"an endless element":         `{"type":"dir","name":"` + strings.Repeat("a", 2*maxTOCEntry) + `"}`,
	} {
		toc := []byte(`{"version":1,"entries":[` + entries + `]}`)
		payload := make([]byte, 10_000)
		for kind, with := range map[string]func(testing.TB, []byte, []byte) ([]byte, map[string]string){"eStargz": withStargzTOC, "zstd:chunked": withChunkedTOC} {
			blob, annotations := with(t, payload, toc)
			x, err := OpenTOC(t.Context(), digestOf(blob), readat.Bytes(blob), annotations, nil)
			if x != nil || !errors.Is(err, ErrNoTOC) || errors.Is(err, ErrMismatch) {
				t.Errorf("%s, %s: %v", name, kind, err)
			}
		}
	}
	for name, toc := range map[string]string{
		"good":             `{"version":1,"more":{"of":["something"]},"entries":[` + good + `],"tarSplitDigest":"sha256:00"}`,
		"nothing":          `{}`,
		"no entries":       `{"entries":[]}`,
		"an empty layer's": `{"entries":null,"version":1}`,
		"a chunk of zeros": `{"entries":[` + file(`"chunkType":"zeros"`) + `]}`,
	} {
		blob, annotations := withChunkedTOC(t, make([]byte, 10_000), []byte(toc))
		if _, err := OpenTOC(t.Context(), digestOf(blob), readat.Bytes(blob), annotations, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTOCReportsEntries(t *testing.T) {
	toc := fmt.Sprintf(`{"entries":[{"type":"dir","name":"good"},{"type":"dir","name":%q},{"type":"dir","name":"better"}]}`, strings.Repeat("a/", 2000))
	blob, annotations := withStargzTOC(t, nil, []byte(toc))
	var told []string
	x, err := OpenTOC(t.Context(), digestOf(blob), readat.Bytes(blob), annotations, func(e *EntryError) { told = append(told, e.Reason) })
	if err != nil || x.Table.Len() != 2 || len(told) != 1 {
		t.Errorf("%v, told %q", err, told)
	}
}

// TestTOCSourceErrorIsKept: what a registry fails with is no reason to read the whole layer.
func TestTOCSourceErrorIsKept(t *testing.T) {
	lost := errors.New("connection lost")
	for _, e := range tocEncodings {
		blob, annotations := e.encode(t, variety(t, 200))
		for after := range 2 {
			r := &failsAfter{Reader: readat.Bytes(blob), left: after, err: lost}
			x, err := OpenTOC(t.Context(), digestOf(blob), r, annotations, nil)
			if r.failed && (x != nil || !errors.Is(err, lost) || errors.Is(err, ErrNoTOC)) {
				t.Errorf("%s, after %d reads: %v", e.name, after, err)
			}
		}
	}
}

// failsAfter fails after some reads.
type failsAfter struct {
	readat.Reader
	left   int
	err    error
	failed bool
}

func (f *failsAfter) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if f.left == 0 {
		f.failed = true
		return 0, f.err
	}
	f.left--
	return f.Reader.ReadAt(ctx, p, off)
}

func fuzzTOC(f *testing.F, with func(testing.TB, []byte, []byte) ([]byte, map[string]string), files []byte) {
	digest := digestOf([]byte("text")).String()
	for _, toc := range []string{
		`{"version":1,"entries":[{"type":"reg","name":"f","size":4,"offset":5,"digest":"` + digest + `"},{"type":"dir","name":"d/","modtime":"2020-01-01T00:00:00Z"}]}`,
		`{"entries":[{"type":"reg","name":"f","size":8,"offset":5,"chunkSize":4,"chunkDigest":"` + digest + `"},{"type":"chunk","name":"f","chunkOffset":4,"chunkType":"zeros"}]}`,
		`{"entries":[{"type":"symlink","name":"s","linkName":"a","xattrs":{"user.a":"YQ=="}},{"type":"char","name":"c","devMajor":1,"devMinor":3,"mode":438,"uid":1,"gid":2}]}`,
	} {
		f.Add([]byte(toc))
	}
	f.Fuzz(func(t *testing.T, toc []byte) {
		blob, annotations := with(t, files, toc)
		r := &countedReader{b: blob}
		var x *Index
		var err error
		allocates(t, toc, 16<<20, 256, func() { x, err = OpenTOC(t.Context(), digestOf(blob), r, annotations, nil) })
		if err != nil {
			if !errors.Is(err, ErrNoTOC) {
				t.Fatal(err)
			}
			return
		}
		plain := x.Plain(r)
		for _, e := range x.Table.All() {
			if e.Data+e.Stored() > x.Size() {
				t.Fatalf("%q is not within the plain bytes", e.Name)
			}
			_, _ = plain.ReadAt(t.Context(), make([]byte, min(e.Stored(), 10)), e.Data)
		}
		if _, err := ParseIndex(stored(t, x), x.Blob); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzStargzTOC(f *testing.F) { fuzzTOC(f, withStargzTOC, gzipped(6, nil)(f, content(1, 3000))) }

func FuzzChunkedTOC(f *testing.F) { fuzzTOC(f, withChunkedTOC, zstandard(f, content(1, 3000))) }

// FuzzStargzFooter has whatever it likes at the end of the layer.
func FuzzStargzFooter(f *testing.F) {
	blob, annotations := withStargzTOC(f, nil, []byte(`{"entries":[]}`))
	f.Add(blob)
	f.Fuzz(func(t *testing.T, blob []byte) {
		x, err := OpenTOC(t.Context(), digestOf(blob), readat.Bytes(blob), annotations, nil)
		if err == nil && x.Table.Len() > 0 {
			t.Fatal("a table of another digest")
		}
	})
}
