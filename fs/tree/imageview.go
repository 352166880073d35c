package tree

import (
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
)

// What an image directory holds.
const (
	manifestName         = "manifest.json"
	digestName           = "digest"
	platformName         = "platform.json"
	platformsName        = "platforms"
	referrersName        = "referrers"
	resolvedManifestName = "resolved-manifest.json"
	resolvedDigestName   = "resolved-digest"
	configName           = "config.json"
	layersName           = "layers"
	layoutName           = "oci"
	attestationsName     = "attestations"
	tarName              = "image.tar"
	dockerSaveName       = "docker-save.tar"
	rootfsName           = "rootfs"
)

// imageView is an image directory.
type imageView struct{}

var _ view = imageView{}

func (imageView) may(name string) bool {
	switch name {
	case manifestName, digestName, platformName, platformsName, referrersName, resolvedManifestName, resolvedDigestName,
		configName, layersName, layoutName, attestationsName, tarName, dockerSaveName, rootfsName:
		return true
	}
	return false
}

// names lists what needs the reference's manifest first, then what needs the one
// for the platform. What is absent for a reason, such as a platform that the index
// does not have, is left out and reported.
func (imageView) names(ctx context.Context, d imageDir, i *Image) ([]string, error) {
	report := i.repo.tree.opts.Report
	names := []string{manifestName, digestName}
	if i.isIndex() {
		names = append(names, platformName)
		if _, err := i.index(); err != nil {
			report(d.path, err)
		} else {
			names = append(names, platformsName)
		}
	}
	names = append(names, referrersName)
	resolved, err := i.Resolved(ctx)
	if errors.Is(err, ErrNoPlatform) {
		report(d.path, err)
		return names, nil
	}
	if err != nil {
		return names, err
	}
	names = append(names, resolvedManifestName, resolvedDigestName)
	if c, err := i.repo.contents(resolved); err == nil {
		names = append(names, configName, layersName, layoutName)
		if c.image {
			if _, err := i.tarSize(resolved); err == nil {
				names = append(names, tarName)
			} else {
				report(d.path, err)
			}
			if err := i.dockerSaveFile(resolved).absent(); err == nil {
				names = append(names, dockerSaveName)
			} else {
				report(d.path, err)
			}
			if err := i.repo.hasRootfs(resolved); err == nil {
				names = append(names, rootfsName)
			} else {
				report(d.path, err)
			}
		}
	} else if !errors.Is(err, errNoBlobs) {
		report(d.path, err)
	}
	if i.hasAttestations(d, resolved.Digest) {
		names = append(names, attestationsName)
	}
	return names, nil
}

func (imageView) node(ctx context.Context, d imageDir, i *Image, name string) (Node, error) {
	switch name {
	case manifestName, digestName:
		return i.fileOf(name, i.manifest), nil
	case platformName:
		return i.platformFile()
	case platformsName:
		if _, err := i.index(); err != nil {
			return nil, err
		}
		return d.below(name, platformsView{}), nil
	case referrersName:
		return hiddenLink{i.repo.tree, d.path + "/" + name, i.manifest.Digest, hiddenReferrers}, nil
	}
	resolved, err := i.Resolved(ctx)
	if err != nil {
		return nil, err
	}
	switch name {
	case resolvedManifestName, resolvedDigestName:
		return i.fileOf(name, resolved), nil
	case tarName:
		return i.tarFile(resolved)
	case dockerSaveName:
		if err := imageOnly(resolved); err != nil {
			return nil, fmt.Errorf("%s@%s: %w", i.repo.name(), resolved.Digest, err)
		}
		return i.dockerSaveFile(resolved), nil
	case rootfsName:
		if err := i.repo.hasRootfs(resolved); err != nil {
			return nil, err
		}
		return hiddenLink{i.repo.tree, d.path + "/" + name, resolved.Digest, hiddenRootfs}, nil
	case attestationsName:
		if !i.hasAttestations(d, resolved.Digest) {
			return nil, iofs.ErrNotExist
		}
		return d.below(name, attestationsView{}), nil
	}
	c, err := i.repo.contents(resolved)
	if err != nil {
		return nil, err
	}
	switch name {
	case configName:
		return i.repo.blobFile(resolved, name, c.config), nil
	case layersName:
		return d.below(name, layersView{}), nil
	case layoutName:
		return d.below(name, layoutView{}), nil
	}
	return nil, iofs.ErrNotExist
}
