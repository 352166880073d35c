package imagetar

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// holes is a tarball with a member of 1 TiB, of which it has one byte. archive/tar
// writes no such headers.
func holes(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	content := []byte("1\n0\n1\n")
	content = append(content, make([]byte, tarBlock-len(content)+1)...)
	records := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n21 GNU.sparse.name=a\n37 GNU.sparse.realsize=1099511627776\n"
	if err := w.WriteHeader(&tar.Header{Name: "PaxHeaders/a", Typeflag: tar.TypeReg, Size: int64(len(records))}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, records); err != nil {
		t.Fatal(err)
	}
	if err := w.WriteHeader(&tar.Header{Name: "a", Typeflag: tar.TypeReg, Size: int64(len(content))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	raw := b.Bytes()
	// The first header becomes one of PAX, with the checksum that it has then.
	copy(raw[148:156], "        ")
	raw[156] = tar.TypeXHeader
	var sum int
	for _, c := range raw[:tarBlock] {
		sum += int(c)
	}
	copy(raw[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return raw
}

func TestReadContentsRefused(t *testing.T) {
	s := newSample(t)
	whole := tarOf(t, s.layout(t)...)
	large := bytes.Repeat([]byte("["), maxDocument)
	var many []entry
	for i := range maxDocuments/maxDocument + 1 {
		many = append(many, entry{name: fmt.Sprint(i), content: large})
	}
	for name, c := range map[string]struct {
		tarball []byte
		want    string
	}{
		"nothing of a tarball": {[]byte(strings.Repeat("no tarball ", 100)), "invalid tar header"},
		"cut short":            {whole[:len(whole)-3000], "unexpected EOF"},
		"empty":                {nil, "no tarball of an image"},
		"of something else":    {tarOf(t, entry{name: "a"}), "no tarball of an image"},
		"broken index":         {tarOf(t, entry{name: "index.json", content: []byte("{")}), "index.json"},
		"broken documents":     {tarOf(t, entry{name: "manifest.json", content: []byte(`{"a":1}`)}), "manifest.json"},
		"an index twice":       {tarOf(t, entry{name: "index.json", content: []byte("{}")}, entry{name: "index.json", content: []byte("[]")}), "twice"},
		"a long index":         {tarOf(t, entry{name: "index.json", content: append(bytes.Clone(large), '[')}), "no document"},
		"no image":             {tarOf(t, entry{name: "manifest.json", content: []byte("[]")}), "no image"},
		"documents":            {tarOf(t, many...), "MiB of documents"},
		"sparse":               {holes(t), "sparse"},
		"gzip that breaks off": {gzipped(t, whole)[:200], "unexpected EOF"},
	} {
		if _, err := compare(t, s.wanted, c.tarball); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the test")
	cancel(stopped)
	if _, err := ReadContents(ctx, bytes.NewReader(whole)); !errors.Is(err, stopped) {
		t.Errorf("after it was cancelled: %v", err)
	}
}

// A tarball of more members than anybody has takes no more memory than their names.
func TestReadContentsOfManyMembers(t *testing.T) {
	r, w := io.Pipe()
	defer func() { _ = r.Close() }()
	go func() {
		tw := tar.NewWriter(w)
		for i := 0; ; i++ {
			if tw.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg}) != nil {
				return // the reader has had enough
			}
		}
	}()
	if _, err := ReadContents(t.Context(), r); err == nil || !strings.Contains(err.Error(), "members") {
		t.Errorf("it ends with %v", err)
	}
}
