package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	iofs "io/fs"
)

// A record is a small file that cannot be told from another by what is in it: a
// line with a SHA-256, then the content. The sum covers what the record is of as
// well, so that one that was damaged, or put in the place of another, is none.

// errDamaged is a record that does not have its sum: a miss.
var errDamaged = fmt.Errorf("damaged record: %w", iofs.ErrNotExist)

func recordSum(of string, content []byte) string {
	h := sha256.New()
	fmt.Fprintf(h, "%d %s\n", len(of), of)
	h.Write(content)
	return hex.EncodeToString(h.Sum(nil))
}

func encodeRecord(of string, content []byte) []byte {
	return append([]byte(recordSum(of, content)+"\n"), content...)
}

func decodeRecord(of string, b []byte) ([]byte, error) {
	sum, content, found := bytes.Cut(b, []byte("\n"))
	if !found || string(sum) != recordSum(of, content) {
		return nil, errDamaged
	}
	return content, nil
}
