package tree

import (
	"bytes"
	"context"
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/registry"
)

// recordSuffix is what the name of a layer's record ends with.
const recordSuffix = ".json"

// layerRecord is what is known of a layer besides its bytes, as a JSON object: its
// descriptor and, of an image, its diffID and the line of the history that made it.
//
// These two are in the config, and stat must not fetch that. So the file is as long
// as they can be at most, and ends in spaces.
type layerRecord struct {
	contentFile
	repo     *repository
	manifest registry.Digest
	layer    int // its position
	size     int64
}

var _ File = layerRecord{}

func (r *repository) layerRecord(m cache.Manifest, c *contents, layer int) (Node, error) {
	bare, err := renderRecord(c.layers[layer], diffIDRoom, nil)
	if err != nil {
		return nil, err
	}
	f := layerRecord{repo: r, manifest: m.Digest, layer: layer, size: int64(len(bare)) + historyRoom(c)}
	if !c.image {
		if bare, err = renderRecord(c.layers[layer], "", nil); err != nil {
			return nil, err
		}
		f.size = int64(len(bare))
	}
	name := layersName + "/" + layerStem(c.layers, layer) + recordSuffix
	f.contentFile = contentFile{contentIno(r.name(), m.Digest.String(), name, ""), m.FirstSeen}
	return f, nil
}

func (f layerRecord) Attr(context.Context) (Attr, error) { return f.attr(f.size), nil }

func (f layerRecord) Open(ctx context.Context) (OpenFile, error) {
	m, err := f.repo.manifest(ctx, f.manifest)
	if err != nil {
		return nil, err
	}
	c, err := f.repo.contents(m)
	if err != nil {
		return nil, err
	}
	var diffID string
	var line json.RawMessage
	if c.image && c.config.Size <= maxConfig {
		config, err := f.repo.readBlob(ctx, c.config)
		if err != nil {
			return nil, err
		}
		diffID, line = layerOf(config, f.layer)
	}
	record, err := renderRecord(c.layers[f.layer], diffID, escaped(line))
	if err == nil && int64(len(record)) > f.size {
		// Nearly all of the config is in this line, and much of it is escaped.
		record, err = renderRecord(c.layers[f.layer], diffID, masked(line))
	}
	if err != nil {
		return nil, err
	}
	return OpenBytes(padded(record, f.size)), nil
}

// maxConfig is the longest config that is read for a record, in bytes.
const maxConfig = 8 << 20

// diffIDRoom is a diffID as long as all are.
const diffIDRoom = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// renderRecord writes a record. Nothing of the config is left out where a history is
// given, or a diffID.
func renderRecord(d v1.Descriptor, diffID string, line json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(d)
	if err != nil {
		return nil, err
	}
	b = append([]byte("{\n  \"descriptor\": "), escaped(b)...)
	if diffID != "" {
		b = append(b, ",\n  \"diffID\": \""+diffID+`"`...)
	}
	if len(line) > 0 {
		b = append(b, historyKey...)
		b = append(b, line...)
	}
	return append(b, "\n}\n"...), nil
}

const historyKey = ",\n  \"history\": "

// historyRoom is the most that the history of one layer can take of a record: all
// that the config's bytes have besides one diffID a layer, and one empty entry of
// the history for each of the others.
func historyRoom(c *contents) int64 {
	if c.config.Size > maxConfig {
		return 0
	}
	layers := int64(len(c.layers))
	least := int64(len(`{"rootfs":{"diff_ids":[]},"history":[]}`)) + layers*int64(len(diffIDRoom)+len(`"",`)) + (layers-1)*int64(len(`{},`)) - 1
	return max(c.config.Size-least, 0) + int64(len(historyKey))
}

// layerOf returns the diffID of a layer in an image's config, and the line of the
// history that made it. Where the config does not say so of each layer, or not of
// as many, they are missing: it says nothing of this one.
func layerOf(config []byte, layer int) (diffID string, line json.RawMessage) {
	diffIDs, lines := layersOf(config)
	if layer >= len(diffIDs) {
		return "", nil
	}
	d, err := registry.ParseDigest(diffIDs[layer])
	if err != nil {
		return "", nil
	}
	var b bytes.Buffer
	if layer >= len(lines) || json.Compact(&b, lines[layer]) != nil {
		return d.String(), nil
	}
	return d.String(), b.Bytes()
}

// layersOf returns what a config says of all layers: their diffIDs, and as many lines of the
// history, or none.
func layersOf(config []byte) (diffIDs []string, lines []json.RawMessage) {
	var document struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
		History []json.RawMessage `json:"history"`
	}
	if json.Unmarshal(config, &document) != nil {
		return nil, nil
	}
	for _, raw := range document.History {
		var entry struct {
			EmptyLayer bool `json:"empty_layer"`
		}
		if json.Unmarshal(raw, &entry) != nil {
			return document.RootFS.DiffIDs, nil
		}
		if !entry.EmptyLayer {
			lines = append(lines, raw)
		}
	}
	if len(lines) != len(document.RootFS.DiffIDs) {
		lines = nil
	}
	return document.RootFS.DiffIDs, lines
}

// padded makes a record size bytes long, with spaces before its last newline. One
// that is too long for that, which no config can make it, loses its history.
func padded(record []byte, size int64) []byte {
	n := int(size) - len(record)
	if n <= 0 {
		return record
	}
	last := len(record) - 1
	return append(append(record[:last:last], bytes.Repeat([]byte(" "), n)...), '\n')
}
