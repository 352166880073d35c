package cache

import (
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

var hexDigest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// validHex says whether s can be the digits of a digest, and so a file's name.
func validHex(s string) bool { return hexDigest.MatchString(s) }

// validDigest says whether d is of the one algorithm that is kept.
func validDigest(d v1.Hash) bool { return d.Algorithm == "sha256" && validHex(d.Hex) }
