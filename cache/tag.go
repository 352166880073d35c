package cache

import (
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"regexp"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// A Tag is what a tag meant, and when that was learned.
type Tag struct {
	Digest   v1.Hash
	Resolved time.Time
}

// tagContent is the content of a tag's record.
type tagContent struct {
	Digest   string    `json:"digest"`
	Resolved time.Time `json:"resolved"`
}

var tagName = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

// encodeTag returns the record of what a tag, called "repository:tag", means.
func encodeTag(name string, t Tag) ([]byte, error) {
	b, err := json.Marshal(tagContent{t.Digest.String(), t.Resolved})
	if err != nil {
		return nil, err
	}
	return encodeRecord("tag "+name, b), nil
}

func decodeTag(name string, b []byte) (Tag, error) {
	b, err := decodeRecord("tag "+name, b)
	if err != nil {
		return Tag{}, err
	}
	var content tagContent
	if err := json.Unmarshal(b, &content); err != nil {
		return Tag{}, errDamaged
	}
	d, err := v1.NewHash(content.Digest)
	if err != nil || !validDigest(d) {
		return Tag{}, errDamaged
	}
	return Tag{d, content.Resolved}, nil
}

// Tag returns what was put for a tag. A miss, damage included, is
// io/fs.ErrNotExist.
func (r *Repository) Tag(tag string) (Tag, error) {
	if !tagName.MatchString(tag) {
		return Tag{}, iofs.ErrNotExist
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "tags", tag))
	if err != nil {
		return Tag{}, err
	}
	return decodeTag(r.name+":"+tag, b)
}

// PutTag keeps what a tag means.
func (r *Repository) PutTag(tag string, t Tag) error {
	if !tagName.MatchString(tag) {
		return fmt.Errorf("tag %q: not a tag", tag)
	}
	b, err := encodeTag(r.name+":"+tag, t)
	if err != nil {
		return err
	}
	return r.keep("tags", tag, b)
}

// DeleteTag forgets a tag; one that is not kept is io/fs.ErrNotExist.
func (r *Repository) DeleteTag(tag string) error {
	if !tagName.MatchString(tag) {
		return iofs.ErrNotExist
	}
	return os.Remove(filepath.Join(r.dir, "tags", tag))
}
