package imagetar

import (
	"archive/tar"
	"bytes"
	"fmt"
	"strings"
	"time"
)

// A header is what an archive says of a member before its bytes.
type header struct {
	name string
	kind byte  // as in archive/tar
	mode int64 // permission bits
	size int64 // in bytes
}

// aligned renders a header that starts at offset at and whose data starts on a
// boundary. The bytes that are missing go into a PAX comment, which every reader of
// tar archives skips.
func (h header) aligned(at int64) ([]byte, error) {
	rendered, err := h.render(0)
	if err != nil || (at+int64(len(rendered)))%alignment == 0 {
		return rendered, err
	}
	// The shortest comment gives the shortest PAX header: what is still missing
	// after it is the length of the records to add.
	rendered, err = h.render(minComment)
	if err != nil {
		return nil, err
	}
	missing := -(at + int64(len(rendered))) & (alignment - 1)
	if missing == 0 {
		return rendered, nil
	}
	return h.render(minComment + int(missing))
}

// minComment is the length of a PAX record of a comment that is never empty (an
// empty value would delete the record) and grows by whole blocks: such a record
// alone fills less than one block, with the others that a header may need.
const minComment = 16

// render renders the header, in as many blocks as it takes: one, or three and more
// where a name or a size needs PAX records. comment is the length in bytes of the
// PAX comment record to add; 0 adds none.
func (h header) render(comment int) ([]byte, error) {
	th := &tar.Header{Name: h.name, Typeflag: h.kind, Size: h.size, Mode: h.mode, ModTime: time.Unix(0, 0)}
	if comment > 0 {
		th.PAXRecords = map[string]string{"comment": commentOf(comment)}
	}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(th); err != nil {
		return nil, fmt.Errorf("header of %s: %w", h.name, err)
	}
	return b.Bytes(), nil
}

// commentOf returns the value that makes a PAX comment record n bytes long: the
// record is "<its length in decimal> comment=<value>\n".
func commentOf(n int) string {
	return strings.Repeat(" ", n-len(fmt.Sprintf("%d comment=\n", n)))
}
