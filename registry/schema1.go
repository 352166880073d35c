package registry

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

var errSignature = errors.New("no schema 1 signature")

// unsigned returns the payload of a signed schema 1 manifest: the document up to
// where its signatures were put in, and the tail that they displaced. Each
// signature's protected header says both (libtrust's JSON signature).
//
// The digest is that of the payload, so whatever else the document holds is
// checked by nobody. It must be the signatures and nothing more: otherwise any
// document could be served under the digest of any other.
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
		return nil, errSignature
	}
	header, err := base64.RawURLEncoding.DecodeString(document.Signatures[0].Protected)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSignature, err)
	}
	var protected struct {
		FormatLength int    `json:"formatLength"`
		FormatTail   string `json:"formatTail"`
	}
	if err := json.Unmarshal(header, &protected); err != nil {
		return nil, fmt.Errorf("%w: %w", errSignature, err)
	}
	tail, err := base64.RawURLEncoding.DecodeString(protected.FormatTail)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errSignature, err)
	}
	length := protected.FormatLength
	if length <= 0 || length > len(b)-len(tail) || !bytes.HasSuffix(b, tail) || string(bytes.TrimSpace(tail)) != "}" {
		return nil, errSignature
	}
	payload := bytes.Join([][]byte{b[:length], tail}, nil)
	if !json.Valid(payload) || !isSignatures(b[length:len(b)-len(tail)]) {
		return nil, errSignature
	}
	return payload, nil
}

// isSignatures says whether b goes on an object with its signatures alone.
func isSignatures(b []byte) bool {
	member, ok := bytes.CutPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte(","))
	var members map[string]json.RawMessage
	if !ok || json.Unmarshal(bytes.Join([][]byte{[]byte("{"), member, []byte("}")}, nil), &members) != nil {
		return false
	}
	_, ok = members["signatures"]
	return ok && len(members) == 1
}
