package bench

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
)

// blobsPrefix is where an archive has its blobs, named by their digests.
const blobsPrefix = "blobs/sha256/"

// checkArchive checks that an archive holds an image, and that all blobs are
// what their names say.
func checkArchive(t *testing.T, path string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := readArchive(bufio.NewReaderSize(f, 1<<20)); err != nil {
		t.Errorf("%s: %v", path, err)
	}
}

func readArchive(r io.Reader) error {
	archive := tar.NewReader(r)
	blobs := map[string]bool{}
	var images []struct {
		Config string
		Layers []string
	}
	buffer := make([]byte, 1<<20)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if header.Name == "manifest.json" {
			if err := json.NewDecoder(archive).Decode(&images); err != nil {
				return err
			}
		}
		hex, ok := strings.CutPrefix(header.Name, blobsPrefix)
		if !ok || hex == "" {
			continue
		}
		sum := sha256.New()
		if _, err := io.CopyBuffer(sum, struct{ io.Reader }{archive}, buffer); err != nil {
			return err
		}
		if got := fmt.Sprintf("%x", sum.Sum(nil)); got != hex {
			return fmt.Errorf("the blob %s is %s", hex, got)
		}
		blobs[header.Name] = true
	}
	if len(images) != 1 || len(images[0].Layers) == 0 {
		return fmt.Errorf("%d images", len(images))
	}
	for _, name := range append(images[0].Layers, images[0].Config) {
		if !blobs[name] {
			return fmt.Errorf("%s is not there", name)
		}
	}
	return nil
}

// largestMember is where the content of the largest member begins.
func largestMember(t *testing.T, path string) string {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	archive := tar.NewReader(f)
	var at, size int64
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return strconv.FormatInt(at, 10)
		} else if err != nil {
			t.Fatal(err)
		}
		if header.Size <= size {
			continue
		}
		size = header.Size
		if at, err = f.Seek(0, io.SeekCurrent); err != nil { // it reads no further than the header
			t.Fatal(err)
		}
	}
}
