package rootfs

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/containerd/stargz-snapshotter/estargz/zstdchunked"
	"github.com/klauspost/compress/zstd"

	"github.com/ocidistfs/ocidistfs/fs/readat"
	"github.com/ocidistfs/ocidistfs/internal/layers"
)

// A tocEncoding makes a layer with a table of contents, and its annotations.
type tocEncoding struct {
	name   string
	encode func(t testing.TB, plain []byte) (blob []byte, annotations map[string]string)
}

func built(options ...estargz.Option) func(testing.TB, []byte) ([]byte, map[string]string) {
	return func(t testing.TB, plain []byte) ([]byte, map[string]string) {
		t.Helper()
		b, err := estargz.Build(io.NewSectionReader(bytes.NewReader(plain), 0, int64(len(plain))), options...)
		if err != nil {
			t.Fatal(err)
		}
		blob, err := io.ReadAll(b)
		if err := errors.Join(err, b.Close()); err != nil {
			t.Fatal(err)
		}
		return blob, map[string]string{estargz.TOCJSONDigestAnnotation: b.TOCDigest().String()}
	}
}

// snapshotterChunked is zstd:chunked as stargz-snapshotter writes it, with the annotation
// of eStargz too.
func snapshotterChunked(t testing.TB, plain []byte) ([]byte, map[string]string) {
	annotations := map[string]string{}
	blob, more := built(estargz.WithCompression(struct {
		*zstdchunked.Compressor
		*zstdchunked.Decompressor
	}{&zstdchunked.Compressor{CompressionLevel: zstd.SpeedDefault, Metadata: annotations}, &zstdchunked.Decompressor{}}), estargz.WithChunkSize(50_000))(t, plain)
	maps.Copy(annotations, more)
	return blob, annotations
}

// podmanChunked is zstd:chunked as podman writes it.
func podmanChunked(t testing.TB, plain []byte) ([]byte, map[string]string) {
	l, err := layers.ZstdChunked.Encode(plain)
	if err != nil {
		t.Fatal(err)
	}
	return l.Blob, l.Annotations
}

// withChunkedTOC adds a table to the frames of files.
func withChunkedTOC(_ testing.TB, blob, toc []byte) ([]byte, map[string]string) {
	return layers.WithChunkedTOC(blob, toc)
}

// withStargzTOC adds a table to the members of files.
func withStargzTOC(t testing.TB, blob, toc []byte) ([]byte, map[string]string) {
	at := len(blob)
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	if err := w.WriteHeader(&tar.Header{Name: stargzName, Typeflag: tar.TypeReg, Size: int64(len(toc))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(toc); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	blob = append(blob, gzipped(6, nil)(t, archive.Bytes())...)
	extra := fmt.Appendf([]byte{'S', 'G', 22, 0}, "%016xSTARGZ", at)
	return append(blob, estargz.CreateGzipFooter(extra)...), map[string]string{stargzDigest: digestOf(toc).String()}
}

// legacyStargz has a footer as it was before eStargz.
func legacyStargz(t testing.TB, plain []byte) ([]byte, map[string]string) {
	blob, annotations := built()(t, plain)
	footer := blob[len(blob)-51:]
	extra := footer[16:38]
	return append(blob[:len(blob)-51:len(blob)-51], estargz.CreateGzipFooter(extra)...), annotations
}

var tocEncodings = []tocEncoding{
	{"eStargz", built()},
	{"eStargz in small chunks", built(estargz.WithChunkSize(20_000))},
	{"eStargz of few members", built(estargz.WithChunkSize(20_000), estargz.WithMinChunkSize(60_000))},
	{"eStargz with a landmark", built(estargz.WithPrioritizedFiles([]string{"dir1/file1"}), estargz.WithAllowPrioritizeNotFound(new([]string)))},
	{"eStargz, legacy footer", legacyStargz},
	{"zstd:chunked of podman", podmanChunked},
	{"zstd:chunked of stargz-snapshotter", snapshotterChunked},
}

// variety is an archive of everything that one can have, and of some files.
func variety(t testing.TB, files int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	random := rand.New(rand.NewPCG(3, 3))
	add := func(h tar.Header, data []byte) {
		h.ModTime = time.Unix(1_700_000_000+random.Int64N(1e6), 0)
		h.Size = int64(len(data))
		h.Uid, h.Gid = random.IntN(3000), random.IntN(3000)
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(data); err != nil {
			t.Fatal(err)
		}
	}
	add(tar.Header{Name: "dir1/", Typeflag: tar.TypeDir, Mode: 0o1755}, nil)
	for i := range files {
		add(tar.Header{Name: fmt.Sprintf("dir1/file%d", i), Typeflag: tar.TypeReg, Mode: 0o4755}, content(uint64(i), random.IntN(1<<random.IntN(18))))
	}
	add(tar.Header{Name: "empty", Typeflag: tar.TypeReg, Mode: 0o600}, nil)
	add(tar.Header{Name: "holes", Typeflag: tar.TypeReg, Mode: 0o644}, slices.Concat(content(1, 70_000), make([]byte, 90_000), content(2, 100), make([]byte, 2000)))
	add(tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Mode: 0o644}, make([]byte, 50_000))
	add(tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/dir1/file0", Mode: 0o777}, nil)
	add(tar.Header{Name: "hard", Typeflag: tar.TypeLink, Linkname: "dir1/file0", Mode: 0o644}, nil)
	add(tar.Header{Name: "null", Typeflag: tar.TypeChar, Mode: 0o666, Devmajor: 1, Devminor: 3}, nil)
	add(tar.Header{Name: "disk", Typeflag: tar.TypeBlock, Mode: 0o660, Devmajor: 8}, nil)
	add(tar.Header{Name: "pipe", Typeflag: tar.TypeFifo, Mode: 0o600}, nil)
	add(tar.Header{Name: ".wh.gone", Typeflag: tar.TypeReg}, nil)
	add(tar.Header{Name: strings.Repeat("long/", 40) + "é", Typeflag: tar.TypeReg, Mode: 0o644}, []byte("text"))
	add(tar.Header{
		Name: "dir1/xattrs", Typeflag: tar.TypeReg, Mode: 0o755, Format: tar.FormatPAX,
		PAXRecords: map[string]string{"SCHILY.xattr.user.b": "\xff\x01", "SCHILY.xattr.user.a": "", "SCHILY.xattr.trusted.overlay.opaque": "y"},
	}, []byte("#!/bin/sh\n"))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// openTOC opens a layer that is expected to be in order.
func openTOC(t testing.TB, blob readat.Reader, annotations map[string]string) *Index {
	t.Helper()
	x, err := OpenTOC(t.Context(), digestOf([]byte("layer")), blob, annotations, func(e *EntryError) { t.Error(e) })
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// TestTOCIsTheLayer: the table of contents has the entries that a pass over the
// layer finds, in the same order, and their bytes.
func TestTOCIsTheLayer(t *testing.T) {
	plain := variety(t, 60)
	for _, e := range tocEncodings {
		t.Run(e.name, func(t *testing.T) {
			blob, annotations := e.encode(t, plain)
			sameAsPass(t, blob, annotations, 70)
		})
	}
}

// TestTOCOfSkopeo reads what skopeo 1.9 has written.
func TestTOCOfSkopeo(t *testing.T) {
	blob, err := os.ReadFile("testdata/skopeo.zst")
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.ReadFile("testdata/skopeo.json")
	if err != nil {
		t.Fatal(err)
	}
	var annotations map[string]string
	if err := json.Unmarshal(said, &annotations); err != nil {
		t.Fatal(err)
	}
	sameAsPass(t, blob, annotations, 9)
}

// sameAsPass compares the index from the table of contents of a layer with the one
// from a pass over it.
func sameAsPass(t *testing.T, blob []byte, annotations map[string]string, entries int) {
	t.Helper()
	x := openTOC(t, readat.Bytes(blob), annotations)
	var passed bytes.Buffer
	y, err := Pass(t.Context(), digestOf(blob), bytes.NewReader(blob), &passed, PassOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if x.Table.Len() != y.Table.Len() || x.Table.Len() < entries {
		t.Fatalf("%d entries, the layer has %d", x.Table.Len(), y.Table.Len())
	}
	r := x.Plain(readat.Bytes(blob))
	for i, got := range x.Table.All() {
		want := y.Table.Entry(i)
		data := passed.Bytes()[want.Data : want.Data+want.Size]
		bytesOf := make([]byte, got.Size)
		if _, err := r.ReadAt(t.Context(), bytesOf, got.Data); err != nil || !bytes.Equal(bytesOf, data) {
			t.Errorf("%q has other bytes: %v", got.Name, err)
		}
		got.Data, want.Data = 0, 0
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%+v in the table is %+v in the layer", got, want)
		}
		if isHousekeeping(got.Name) {
			t.Errorf("%q is shown", got.Name)
		}
	}
	z, err := ParseIndex(stored(t, x), x.Blob)
	if err != nil {
		t.Fatal(err)
	}
	all := make([]byte, x.Size())
	again := make([]byte, x.Size())
	if _, err := r.ReadAt(t.Context(), all, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := z.Plain(readat.Bytes(blob)).ReadAt(t.Context(), again, 0); err != nil || !bytes.Equal(again, all) {
		t.Errorf("stored and read: %v", err)
	}
}

// TestTOCRequests: a listing and a file cost three ranged reads, of little.
func TestTOCRequests(t *testing.T) {
	if testing.Short() {
		t.Skip("it is large, and for one goroutine")
	}
	plain := variety(t, 700)
	for _, e := range tocEncodings {
		t.Run(e.name, func(t *testing.T) {
			b, annotations := e.encode(t, plain)
			blob := &countedReader{b: b}
			x := openTOC(t, blob, annotations)
			if blob.reads > 2 || blob.bytes > int64(len(b)/20+minTail) {
				t.Errorf("the table: %d reads, %d bytes of %d", blob.reads, blob.bytes, len(b))
			}
			blob.reads, blob.bytes = 0, 0
			r := x.Plain(blob)
			for _, entry := range x.Table.All() {
				if entry.Name != "dir1/file300" {
					continue
				}
				if _, err := r.ReadAt(t.Context(), make([]byte, min(entry.Size, 1000)), entry.Data); err != nil {
					t.Fatal(err)
				}
			}
			if blob.reads != 1 || blob.bytes > 100_000 {
				t.Errorf("a file: %d reads, %d bytes", blob.reads, blob.bytes)
			}
		})
	}
}

// TestTOCIsVerified flips every byte of a layer: either it is found out that the table is
// another, or the bytes of the files are.
func TestTOCIsVerified(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	random := rand.New(rand.NewPCG(4, 4))
	for i, size := range []int{100, 0, 1500} {
		if err := w.WriteHeader(&tar.Header{Name: fmt.Sprint("file", i), Typeflag: tar.TypeReg, Mode: 0o644, Size: int64(size)}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(noise(random, size)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, e := range tocEncodings {
		t.Run(e.name, func(t *testing.T) {
			blob, annotations := e.encode(t, b.Bytes())
			x := openTOC(t, readat.Bytes(blob), annotations)
			want := make([]byte, x.Size())
			if _, err := x.Plain(readat.Bytes(blob)).ReadAt(t.Context(), want, 0); err != nil {
				t.Fatal(err)
			}
			refused, mismatched := 0, 0
			for i := range blob {
				damaged := bytes.Clone(blob)
				damaged[i] ^= 1 << (i % 8)
				y, err := OpenTOC(t.Context(), x.Blob, readat.Bytes(damaged), annotations, nil)
				if err != nil {
					if !errors.Is(err, ErrNoTOC) {
						t.Fatalf("byte %d: %v", i, err)
					}
					refused++
					continue
				}
				if !bytes.Equal(y.Table.Bytes(), x.Table.Bytes()) {
					t.Fatalf("byte %d was changed, and the table with it", i)
				}
				got := make([]byte, x.Size())
				if _, err := y.Plain(readat.Bytes(damaged)).ReadAt(t.Context(), got, 0); errors.Is(err, ErrMismatch) {
					mismatched++
				} else if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("byte %d: %v", i, err)
				}
			}
			if refused < 100 || mismatched < 100 {
				t.Errorf("%d changes of the table were found, %d of files", refused, mismatched)
			}
			other := map[string]string{}
			for key, value := range annotations {
				other[key] = value
				if strings.Contains(value, "sha256:") {
					other[key] = digestOf(nil).String()
				}
			}
			if _, err := OpenTOC(t.Context(), x.Blob, readat.Bytes(blob), other, nil); !errors.Is(err, ErrNoTOC) || !errors.Is(err, ErrMismatch) {
				t.Errorf("another digest: %v", err)
			}
		})
	}
}
