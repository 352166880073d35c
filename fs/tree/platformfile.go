package tree

import (
	"context"
	"encoding/json"

	"github.com/containerd/platforms"

	"github.com/ocidistfs/ocidistfs/registry"
)

// platformFile is platform.json: which image of an index is taken, and why no other.
type platformFile struct {
	contentFile
	repo     *repository
	digest   registry.Digest // of the index
	platform Platform
	size     int64
}

var _ File = platformFile{}

func (i *Image) platformFile() (Node, error) {
	x, err := i.index()
	if err != nil {
		return nil, err
	}
	p := i.platform()
	b, err := p.explain(x)
	if err != nil {
		return nil, err
	}
	return platformFile{i.content(i.manifest, platformName, p.String()), i.repo, i.manifest.Digest, p, int64(len(b))}, nil
}

func (f platformFile) Attr(context.Context) (Attr, error) { return f.attr(f.size), nil }

func (f platformFile) Open(ctx context.Context) (OpenFile, error) {
	m, err := f.repo.manifest(ctx, f.digest)
	if err != nil {
		return nil, err
	}
	x, err := f.repo.index(m)
	if err != nil {
		return nil, err
	}
	b, err := f.platform.explain(x)
	if err != nil {
		return nil, err
	}
	return OpenBytes(b), nil
}

// A candidate is what platform.json says of an entry of the index.
type candidate struct {
	Platform  string `json:"platform,omitempty"`
	OSVersion string `json:"osVersion,omitempty"`
	Digest    string `json:"digest"`
	MediaType string `json:"mediaType,omitempty"`
	Name      string `json:"name,omitempty"` // in platforms/
	Reason    string `json:"reason,omitempty"`
}

// explain is platform.json for an index.
func (p Platform) explain(x *index) ([]byte, error) {
	document := struct {
		Requested string      `json:"requested"`
		Chosen    *candidate  `json:"chosen"`
		Refused   []candidate `json:"refused"`
	}{Requested: p.String(), Refused: []candidate{}}
	best, refused := p.choose(x)
	for n, e := range x.entries {
		c := candidate{Digest: e.Digest, MediaType: string(e.MediaType), Name: x.names[n], Reason: refused[n]}
		if spec, ok := e.spec(); ok {
			c.Platform, c.OSVersion = platforms.Format(spec), spec.OSVersion
		}
		if n == best {
			document.Chosen = &c
		} else {
			document.Refused = append(document.Refused, c)
		}
	}
	b, err := json.MarshalIndent(document, "", "  ")
	return append(escaped(b), '\n'), err
}
