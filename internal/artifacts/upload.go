package artifacts

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// An upload is where content goes to.
type upload struct{ base string } // the address of the repository in the registry's API

// blob uploads a blob in one piece (distribution-spec, "POST then PUT").
func (u upload) blob(ctx context.Context, d v1.Hash, b []byte) error {
	at, err := u.do(ctx, http.MethodPost, u.base+"/blobs/uploads/", "", nil)
	if err != nil {
		return err
	}
	if at == nil {
		return fmt.Errorf("upload %s: the registry does not say where to", d)
	}
	query := at.Query()
	query.Set("digest", d.String())
	at.RawQuery = query.Encode()
	_, err = u.do(ctx, http.MethodPut, at.String(), "application/octet-stream", b)
	return err
}

// manifest uploads a manifest by a tag or its digest.
func (u upload) manifest(ctx context.Context, reference string, m Manifest) error {
	_, err := u.do(ctx, http.MethodPut, u.base+"/manifests/"+url.PathEscape(reference), string(m.MediaType), m.Bytes)
	return err
}

// do sends a request that has to succeed, and returns where the answer says that what
// it is about is.
func (u upload) do(ctx context.Context, method, address, contentType string, b []byte) (*url.URL, error) {
	req, err := http.NewRequestWithContext(ctx, method, address, bytes.NewReader(b))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode/100 != 2 {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10)) // the status is the error
		return nil, fmt.Errorf("%s %s: %s: %s", method, address, resp.Status, said)
	}
	at, _ := resp.Location() // most have none
	return at, nil
}
