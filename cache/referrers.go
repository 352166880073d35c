package cache

import (
	"encoding/json"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Referrers are what referred to a manifest, and when that was learned.
type Referrers struct {
	Found []Referrer
	Asked time.Time
}

// A Referrer is a manifest that refers to another.
type Referrer struct {
	Digest v1.Hash
	// Kind is what it is called among those of its kind, in words of the one who puts
	// it.
	Kind string
}

// referrersContent is the content of a record of referrers.
type referrersContent struct {
	Asked time.Time         `json:"asked"`
	Found []referrerContent `json:"found"`
}

type referrerContent struct {
	Digest string `json:"digest"`
	Kind   string `json:"kind"`
}

// encodeReferrers returns the record of what refers to a digest of a repository.
func encodeReferrers(name string, d v1.Hash, found Referrers) ([]byte, error) {
	content := referrersContent{Asked: found.Asked, Found: make([]referrerContent, 0, len(found.Found))}
	for _, one := range found.Found {
		content.Found = append(content.Found, referrerContent{one.Digest.String(), one.Kind})
	}
	b, err := json.Marshal(content)
	if err != nil {
		return nil, err
	}
	return encodeRecord("referrers "+name+"@"+d.String(), b), nil
}

func decodeReferrers(name string, d v1.Hash, b []byte) (Referrers, error) {
	b, err := decodeRecord("referrers "+name+"@"+d.String(), b)
	if err != nil {
		return Referrers{}, err
	}
	var content referrersContent
	if err := json.Unmarshal(b, &content); err != nil {
		return Referrers{}, errDamaged
	}
	found := Referrers{Asked: content.Asked}
	for _, one := range content.Found {
		d, err := v1.NewHash(one.Digest)
		if err != nil || !validDigest(d) {
			return Referrers{}, errDamaged
		}
		found.Found = append(found.Found, Referrer{d, one.Kind})
	}
	return found, nil
}

// Referrers returns what was put for a digest. A miss, damage included, is
// io/fs.ErrNotExist.
func (r *Repository) Referrers(d v1.Hash) (Referrers, error) {
	if !validDigest(d) {
		return Referrers{}, iofs.ErrNotExist
	}
	b, err := os.ReadFile(filepath.Join(r.dir, "referrers", d.Hex))
	if err != nil {
		return Referrers{}, err
	}
	return decodeReferrers(r.name, d, b)
}

// PutReferrers keeps what refers to a digest.
func (r *Repository) PutReferrers(d v1.Hash, found Referrers) error {
	if !validDigest(d) {
		return fmt.Errorf("referrers of %s: not a sha256 digest", d)
	}
	b, err := encodeReferrers(r.name, d, found)
	if err != nil {
		return err
	}
	return r.keep("referrers", d.Hex, b)
}
