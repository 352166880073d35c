package tree

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ocidistfs/ocidistfs/internal/layers"
	"github.com/ocidistfs/ocidistfs/registry"
	"github.com/ocidistfs/ocidistfs/registry/registrytest"
)

// TestRootfsOfTables: to look into an image of many layers, each of which has a table of
// contents, is a request a layer, all at once, and to read a file in there one more; what is
// sent is little more than the tables.
func TestRootfsOfTables(t *testing.T) {
	const number = 23
	for _, c := range []struct {
		encoding layers.Encoding
		// Bytes of a layer that are asked for: the end of an eStargz layer is a guess, and
		// the manifest says where the table of the other is.
		most int64
	}{{layers.EStargz, 16 << 10}, {layers.ZstdChunked, 2 << 10}} {
		t.Run(c.encoding.Name, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{})
			var all []layers.Layer
			for i := range number {
				l, err := c.encoding.Encode(registrytest.Archive(t,
					registrytest.Regular(fmt.Sprintf("etc/release%d", i), fmt.Sprint(i)),
					registrytest.Regular(fmt.Sprintf("lib/noise%d", i), noise(100_000+i))))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, l)
			}
			if _, err := layers.Push(f.server, "app", "1", all); err != nil {
				t.Fatal(err)
			}
			root := f.find("app/tags/1/rootfs")
			f.server.Forget()
			// No answer comes before all were asked for.
			var mu sync.Mutex
			waiting := 0
			asked := make(chan struct{})
			f.server.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
				mu.Lock()
				if waiting++; waiting == number {
					close(asked)
				}
				mu.Unlock()
				select {
				case <-asked:
				case <-r.Context().Done():
				}
				next(w, r)
			}))
			listed, err := names(root.(Dir).List(t.Context()))
			if err != nil || len(listed) != 2 {
				t.Fatalf("%v, %v", listed, err)
			}
			if n := len(f.server.Requests()); n != number {
				t.Errorf("%d requests for the tables of %d layers: %+v", n, number, f.server.Requests())
			}
			if sent := f.server.Sent(); sent > number*c.most {
				t.Errorf("%d bytes were sent for the tables of %d layers", sent, number)
			}
			f.server.Forget()
			if got := contentOf(t, f.find("app/tags/1/rootfs/etc/release7")); got != "7" {
				t.Errorf("it is %q", got)
			}
			if n, sent := len(f.server.Requests()), f.server.Sent(); n != 1 || sent > 64<<10 {
				t.Errorf("%d requests, %d bytes for a file: %+v", n, sent, f.server.Requests())
			}
			f.server.Forget()
			if got := contentOf(t, f.find("app/tags/1/rootfs/etc/release7")); got != "7" {
				t.Errorf("again it is %q", got)
			}
			f.tree = f.newTree("linux/amd64")
			if listed, err := names(f.find("app/tags/1/rootfs").(Dir).List(t.Context())); err != nil || len(listed) != 2 {
				t.Errorf("another process: %v, %v", listed, err)
			}
			if n := f.server.Count(registrytest.Blob); n != 0 {
				t.Errorf("%d requests for what was there", n)
			}
		})
	}
}

// "Of a source that knows no ranges each blob comes once": the tables of its layers are read
// out of these, and so are the files.
func TestRootfsOfTablesRangeless(t *testing.T) {
	for _, encoding := range []layers.Encoding{layers.EStargz, layers.ZstdChunked} {
		t.Run(encoding.Name, func(t *testing.T) {
			f := newFixture(t, registrytest.Options{})
			f.server.Break(registrytest.Only(registrytest.Blob, registrytest.Rangeless()))
			var all []layers.Layer
			for i := range 3 {
				l, err := encoding.Encode(registrytest.Archive(t, registrytest.Regular(fmt.Sprint("noise", i), noise(100_000+i))))
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, l)
			}
			if _, err := layers.Push(f.server, "app", "1", all); err != nil {
				t.Fatal(err)
			}
			for i := range all {
				if got := contentOf(t, f.find(fmt.Sprint("app/tags/1/rootfs/noise", i))); got != noise(100_000+i) {
					t.Errorf("%d bytes", len(got))
				}
			}
			for digest, n := range f.blobsAsked() {
				if n != 1 {
					t.Errorf("%s was asked for %d times", digest, n)
				}
			}
		})
	}
}

// TestRootfsSpansOfOneBlob: who reads on in a file has the blob opened once, and anew after it
// failed.
func TestRootfsSpansOfOneBlob(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	content := noise(1 << 20)
	layer, annotations := registrytest.Stargz(t, registrytest.Archive(t, registrytest.Regular("large", content)))
	f.server.Push(t, "app", "1", registrytest.ImageWith(t, mutate.Addendum{Layer: layer, Annotations: annotations}))
	open, err := f.find("app/tags/1/rootfs/large").(File).Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read := func(off int64) error {
		p := make([]byte, 100)
		_, err := open.ReadAt(t.Context(), p, off)
		if err == nil && string(p) != content[off:off+100] {
			t.Errorf("other bytes at %d", off)
		}
		return err
	}
	if n := f.store.Stats().Open; n != 0 {
		t.Errorf("%d blobs are open before anything is read", n)
	}
	for _, off := range []int64{0, 500_000} {
		if err := read(off); err != nil {
			t.Fatal(err)
		}
		if n := f.store.Stats().Open; n != 1 {
			t.Errorf("%d blobs are open after a read at %d", n, off)
		}
	}
	f.server.Break(registrytest.Only(registrytest.Blob, registrytest.Refuse(http.StatusNotFound, "BLOB_UNKNOWN", "")))
	if err := read(1_000_000); err == nil {
		t.Error("what the registry does not send was read")
	}
	f.server.Heal()
	f.pass(time.Hour)
	if err := read(1_000_000); err != nil {
		t.Error(err)
	}
	if err := open.Close(); err != nil {
		t.Error(err)
	}
	f.tree.Close()
	if err := f.store.Close(); err != nil { // it waits for the last span to give back what it had
		t.Error(err)
	}
	if n := f.store.Stats().Open; n != 0 {
		t.Errorf("%d blobs are open after the file was closed", n)
	}
}

// TestRootfsArchiveAhead: of layers whose bytes are not there several spans are asked for at once,
// and each once, while an archive is made.
func TestRootfsArchiveAhead(t *testing.T) {
	f := newFixture(t, registrytest.Options{})
	var members []registrytest.Member
	for i := range 64 {
		members = append(members, registrytest.Regular(fmt.Sprintf("lib/%03d", i), noise(150_000+i)))
	}
	layer, annotations := registrytest.Stargz(t, registrytest.Archive(t, members...))
	f.server.Push(t, "app", "1", registrytest.ImageWith(t, mutate.Addendum{Layer: layer, Annotations: annotations}))
	image, err := f.tree.Image(t.Context(), registry.Reference{Host: f.server.Host(), Repository: "app", Tag: "1"})
	if err != nil {
		t.Fatal(err)
	}
	archive, err := image.OpenRootfsArchive(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The first megabyte comes at once, and the rest when there are two that wait: of one who
	// waits himself there is one.
	f.server.Forget()
	var mu sync.Mutex
	waiting := 0
	both := make(chan struct{})
	f.server.Break(registrytest.Only(registrytest.Blob, func(w http.ResponseWriter, r *http.Request, _ registrytest.Request, next http.HandlerFunc) {
		if f.server.Sent() > 1<<20 {
			mu.Lock()
			if waiting++; waiting == 2 {
				close(both)
			}
			mu.Unlock()
			select {
			case <-both:
			case <-r.Context().Done():
			}
		}
		next(w, r)
	}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var b bytes.Buffer
	if err := archive.Write(ctx, &b); err != nil {
		t.Fatal(err)
	}
	if err := archive.Close(); err != nil {
		t.Error(err)
	}
	files := 0
	for r := tar.NewReader(&b); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil || string(content) != noise(150_000+files) {
			t.Errorf("%s has %d bytes, %v", h.Name, len(content), err)
		}
		files++
	}
	if files != len(members) {
		t.Errorf("%d files of %d", files, len(members))
	}
	// There are three spans in a file.
	if n := f.server.Count(registrytest.Blob); n > len(members) {
		t.Errorf("%d requests for %d spans", n, 3*len(members))
	}
	size, err := layer.Size()
	if err != nil {
		t.Fatal(err)
	}
	if sent := f.server.Sent(); sent > size+size/10 {
		t.Errorf("%d bytes were sent of a layer of %d", sent, size)
	}
}
