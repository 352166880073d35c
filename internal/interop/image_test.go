package interop

import (
	"path/filepath"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// An image is one of the registry's, as the mount has it. A container of it says
// its name.
type image struct {
	name             string // the column of the matrix
	host, repository string
	tag              string // "" where it has no name
	below            string // the image directory, below the repository's
	dir              string // the same, whole
	digest, config   v1.Hash
	layers           int
}

// dockerHub is the host that the second mount knows.
const dockerHub = "docker.io"

// tar is the file to load.
func (im *image) tar() string { return filepath.Join(im.dir, "image.tar") }

// reference is the name that loaders give the image; "" where it has none.
func (im *image) reference() string {
	if im.tag == "" {
		return ""
	}
	return im.host + "/" + im.repository + ":" + im.tag
}

// line is what a container of the image says.
func (im *image) line() string { return im.name + "\n" }
