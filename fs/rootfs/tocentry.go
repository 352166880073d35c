package rootfs

import (
	"archive/tar"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A tocEntry is an element of the table. eStargz and zstd:chunked have the
// same, but for what stands beside a field.
type tocEntry struct {
	Type     string            `json:"type"`
	Name     string            `json:"name"`
	LinkName string            `json:"linkName"`
	Mode     int64             `json:"mode"`
	Size     int64             `json:"size"`
	UID      int               `json:"uid"`
	GID      int               `json:"gid"`
	ModTime  string            `json:"modtime"` // eStargz: rounded to seconds; empty is 1970
	DevMajor int64             `json:"devMajor"`
	DevMinor int64             `json:"devMinor"`
	Xattrs   map[string][]byte `json:"xattrs"`

	Digest      string `json:"digest"`      // of a file
	Offset      int64  `json:"offset"`      // where decoding begins, in the layer
	InnerOffset int64  `json:"innerOffset"` // eStargz: how many plain bytes of others come first
	ChunkOffset int64  `json:"chunkOffset"` // in the file
	ChunkSize   int64  `json:"chunkSize"`   // 0 is up to the end of the file
	ChunkDigest string `json:"chunkDigest"`
	ChunkType   string `json:"chunkType"` // zstd:chunked: "zeros" need not be read
}

var tocTypes = map[string]byte{
	"reg":      tar.TypeReg,
	"hardlink": tar.TypeLink,
	"symlink":  tar.TypeSymlink,
	"char":     tar.TypeChar,
	"block":    tar.TypeBlock,
	"dir":      tar.TypeDir,
	"fifo":     tar.TypeFifo,
}

// errReplaced is a table with a name that is not UTF-8: JSON has replaced
// bytes of it, and nobody knows which.
var errReplaced = errors.New("it has a name that is not UTF-8")

// entry returns what the table of a layer says of a file.
func (e *tocEntry) entry() (Entry, error) {
	kind, ok := tocTypes[e.Type]
	if !ok {
		return Entry{}, fmt.Errorf("entry %q is of type %q, which is not known", e.Name, e.Type)
	}
	entry := Entry{
		Name: e.Name, Linkname: e.LinkName, Type: kind, Mode: e.Mode, UID: e.UID, GID: e.GID,
		ModTime: time.Unix(0, 0), Devmajor: e.DevMajor, Devminor: e.DevMinor, Size: e.Size,
	}
	for _, name := range []string{e.Name, e.LinkName} {
		if strings.ContainsRune(name, utf8.RuneError) {
			return Entry{}, errReplaced
		}
	}
	if e.ModTime != "" {
		t, err := time.Parse(time.RFC3339Nano, e.ModTime)
		if err != nil {
			return Entry{}, err
		}
		entry.ModTime = t
	}
	for name, value := range e.Xattrs {
		if strings.ContainsRune(name, utf8.RuneError) {
			return Entry{}, errReplaced
		}
		entry.Xattrs = append(entry.Xattrs, Xattr{name, string(value)})
	}
	slices.SortFunc(entry.Xattrs, func(a, b Xattr) int { return strings.Compare(a.Name, b.Name) })
	return entry, nil
}

// sum is what the table says of the bytes of a chunk, which is the whole file or
// not.
func (e *tocEntry) sum(whole bool) (sum, error) {
	text := e.ChunkDigest
	if text == "" && whole {
		text = e.Digest
	}
	digest, err := v1.NewHash(text)
	if err != nil || digest.Algorithm != "sha256" {
		return sum{}, fmt.Errorf("a chunk of %q has no digest, or none that can be checked", e.Name)
	}
	var full [32]byte
	if err := storeDigest(&full, digest); err != nil {
		return sum{}, err
	}
	return sum(full[:len(sum{})]), nil
}

// maxTOCEntry is how long the JSON of an entry may be: its extended attributes, in
// base64, are most of what one can have.
const maxTOCEntry = 4 << 20

// eachEntry reads the JSON of a table, an element at a time.
func eachEntry(from io.Reader, each func(*tocEntry) error) error {
	limited := &elementReader{from: from}
	limited.next()
	d := json.NewDecoder(limited)
	if err := expect(d, json.Delim('{')); err != nil {
		return err
	}
	for d.More() {
		limited.next()
		key, err := d.Token()
		if err != nil {
			return err
		}
		if key != "entries" {
			var ignored json.RawMessage
			if err := d.Decode(&ignored); err != nil {
				return err
			}
			continue
		}
		begin, err := d.Token()
		if err != nil {
			return noEOF(err)
		}
		if begin == nil {
			continue // how Go writes the list of an empty layer
		}
		if begin != json.Delim('[') {
			return fmt.Errorf("the table has %v in place of a list", begin)
		}
		for d.More() {
			limited.next()
			var e tocEntry
			if err := d.Decode(&e); err != nil {
				return noEOF(err)
			}
			if err := each(&e); err != nil {
				return err
			}
		}
		if err := expect(d, json.Delim(']')); err != nil {
			return err
		}
	}
	return expect(d, json.Delim('}'))
}

func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if err != nil {
		return noEOF(err)
	}
	if got != want {
		return fmt.Errorf("the table has %v in place of %v", got, want)
	}
	return nil
}

// An elementReader bounds how much is read for one element: the decoder keeps all of
// it in memory.
type elementReader struct {
	from io.Reader
	left int
}

// next says that an element begins.
func (r *elementReader) next() { r.left = maxTOCEntry }

func (r *elementReader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, fmt.Errorf("%w: the table has an element of more than %d bytes", ErrTooLarge, maxTOCEntry)
	}
	n, err := r.from.Read(p[:min(len(p), r.left)])
	r.left -= n
	return n, err
}
