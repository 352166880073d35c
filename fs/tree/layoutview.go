package tree

import (
	"context"
	iofs "io/fs"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/fs/imagetar"
	"github.com/ocidistfs/ocidistfs/registry"
)

// What an OCI image layout holds (image-spec, image-layout.md).
const (
	layoutFileName = "oci-layout"
	layoutIndex    = "index.json"
	layoutBlobs    = "blobs"
	layoutSHA256   = "sha256"
)

// layoutView is oci/: the resolved image as an OCI image layout, named as in
// image.tar.
type layoutView struct{}

var _ view = layoutView{}

func (layoutView) may(name string) bool {
	return name == layoutFileName || name == layoutIndex || name == layoutBlobs
}

func (layoutView) names(context.Context, imageDir, *Image) ([]string, error) {
	return []string{layoutFileName, layoutIndex, layoutBlobs}, nil
}

func (layoutView) node(ctx context.Context, d imageDir, i *Image, name string) (Node, error) {
	if name == layoutBlobs {
		return d.below(name, blobsView{}), nil
	}
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	layout, index, err := imagetar.Layout(imagetar.Image{Manifest: resolved.Bytes, MediaType: mediaType(resolved), Name: i.embedded()})
	if err != nil {
		return nil, err
	}
	if name == layoutFileName {
		return i.document(resolved, layoutName+"/"+name, layout), nil
	}
	return i.document(resolved, layoutName+"/"+name, index), nil
}

// blobsView is oci/blobs/.
type blobsView struct{}

var _ view = blobsView{}

func (blobsView) may(name string) bool { return name == layoutSHA256 }

func (blobsView) names(context.Context, imageDir, *Image) ([]string, error) {
	return []string{layoutSHA256}, nil
}

func (blobsView) node(_ context.Context, d imageDir, _ *Image, name string) (Node, error) {
	return d.below(name, sha256View{}), nil
}

// sha256View is oci/blobs/sha256/: the manifest, the config and each layer once, by
// their digests.
type sha256View struct{}

var _ view = sha256View{}

func (sha256View) may(name string) bool {
	_, err := registry.ParseDigest("sha256:" + name)
	return err == nil
}

func (sha256View) names(ctx context.Context, _ imageDir, i *Image) ([]string, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	c, err := i.repo.contents(resolved)
	if err != nil {
		return nil, err
	}
	names := []string{resolved.Digest.Hex}
	listed := map[string]bool{resolved.Digest.Hex: true}
	for _, d := range append([]v1.Descriptor{c.config}, c.layers...) {
		if !listed[d.Digest.Hex] {
			listed[d.Digest.Hex] = true
			names = append(names, d.Digest.Hex)
		}
	}
	return names, nil
}

func (sha256View) node(ctx context.Context, _ imageDir, i *Image, name string) (Node, error) {
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	if name == resolved.Digest.Hex {
		return i.manifestFile(resolved, layoutName+"/"+layoutBlobs), nil
	}
	c, err := i.repo.contents(resolved)
	if err != nil {
		return nil, err
	}
	d, ok := c.blob(name)
	if !ok {
		return nil, iofs.ErrNotExist
	}
	return i.repo.blobFile(resolved, layoutName+"/"+layoutBlobs, d), nil
}
