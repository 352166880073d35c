package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"

	"github.com/google/go-containerregistry/pkg/authn"
)

// A resource is what credentials and tokens are for: a repository, or a registry
// as one that has a catalog.
type resource interface {
	authn.Resource
	Scope(action string) string
}

// Catalog yields the repositories of a host, as in references, without the host,
// as the pages arrive. Names that no repository can have are left out. After an error
// it yields nothing more. Many registries have no catalog, or show it to nobody; they
// say so by a status or by an empty list. Mirrors are not asked: their catalogs have
// what they mirror of everybody.
func (c *Client) Catalog(ctx context.Context, hostName string) iter.Seq2[string, error] {
	const op = "list repositories of"
	hostName = CanonicalHost(hostName)
	return func(yield func(string, error) bool) {
		l, err := c.catalogued(ctx, hostName)
		if err == nil && !l.config.can.has(resolve) {
			err = &Error{Op: op, Ref: hostName, Err: errNobody}
		}
		if err != nil {
			yield("", err)
			return
		}
		const path = "/_catalog"
		list := pager[string]{
			op: op, ref: hostName, first: afterIn(path, ""),
			after: func(last string) string { return afterIn(path, last) }, key: itself,
			fetch: func(ctx context.Context, target string) ([]string, string, error) {
				return l.namesPage(ctx, op, hostName, target, catalogList)
			},
		}
		for name, err := range list.entries(ctx, maxPages+1) {
			if err != nil {
				yield("", err)
				return
			}
			ref, err := ParseReference(hostName + "/" + name)
			if err != nil || ref.Tag != "" || ref.Digest != (Digest{}) {
				continue
			}
			if !yield(ref.Repository, nil) {
				return
			}
		}
	}
}

// catalogued returns the lane on which a registry is asked for its catalog, with
// the token for that.
func (c *Client) catalogued(ctx context.Context, hostName string) (*lane, error) {
	if err := c.Allowed(hostName); err != nil {
		return nil, err
	}
	c.mu.Lock()
	h := c.host(hostName)
	c.mu.Unlock()
	route, err := c.route(ctx, h)
	if err != nil {
		return nil, err
	}
	e := route.endpoints[len(route.endpoints)-1]
	l := &lane{endpoint: e, client: c, parsed: e.registry, origin: true}
	if !route.catalog.CompareAndSwap(nil, l) {
		l = route.catalog.Load()
	}
	return l, nil
}

// catalogList parses a page. What has no list of repositories is no empty one.
func catalogList(b []byte) ([]string, error) {
	var document struct {
		Repositories json.RawMessage `json:"repositories"`
	}
	if err := json.Unmarshal(b, &document); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	if document.Repositories == nil {
		return nil, fmt.Errorf("%w: not a list of repositories", ErrProtocol)
	}
	var names []string
	if err := json.Unmarshal(document.Repositories, &names); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	return names, nil
}
