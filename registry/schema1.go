package registry

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
)

// unsigned returns the payload of a signed schema 1 manifest: the document up to
// where its signatures were put in, and the tail that they displaced. Each
// signature's protected header says both (libtrust's JSON signature).
func unsigned(b []byte) ([]byte, error) {
	var document struct {
		Signatures []struct {
			Protected string `json:"protected"`
		} `json:"signatures"`
	}
	if err := json.Unmarshal(b, &document); err != nil {
		return nil, err
	}
	if len(document.Signatures) == 0 {
		return nil, errNoPayload
	}
	header, err := base64.RawURLEncoding.DecodeString(document.Signatures[0].Protected)
	if err != nil {
		return nil, fmt.Errorf("schema 1 signature: %w", err)
	}
	var protected struct {
		FormatLength int    `json:"formatLength"`
		FormatTail   string `json:"formatTail"`
	}
	if err := json.Unmarshal(header, &protected); err != nil {
		return nil, fmt.Errorf("schema 1 signature: %w", err)
	}
	tail, err := base64.RawURLEncoding.DecodeString(protected.FormatTail)
	if err != nil {
		return nil, fmt.Errorf("schema 1 signature: %w", err)
	}
	if protected.FormatLength <= 0 || protected.FormatLength > len(b) {
		return nil, errNoPayload
	}
	payload := make([]byte, 0, protected.FormatLength+len(tail))
	return append(append(payload, b[:protected.FormatLength]...), tail...), nil
}
