package main

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/ocidistfs/ocidistfs/cache"
	"github.com/ocidistfs/ocidistfs/fs/tree"
	"github.com/ocidistfs/ocidistfs/registry"
)

// completeLimit is how long somebody waits who has pressed a key.
const completeLimit = 2 * time.Second

// pathsIn are the paths of the tree that begin with word, up to the next slash, as far as
// the cache in dir knows. No request is made, and nothing of the cache's is.
func pathsIn(dir, word string) []string {
	if _, err := os.Stat(filepath.Join(dir, "version")); err != nil {
		return nil // to open it would make it
	}
	log := slog.New(slog.DiscardHandler)
	store, err := cache.Open(dir, cache.Options{Logger: log})
	if err != nil {
		return nil
	}
	defer func() { _ = store.Close() }() // nothing is written
	client := registry.NewClient(registry.Options{Keychain: registry.Anonymous(), Logger: log})
	defer client.Close()
	t := tree.New(tree.Options{Client: client, Store: store, Offline: true, TagTTL: viewTTL, ListTTL: viewTTL})
	defer t.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completeLimit)
	defer cancel()
	before := word[:strings.LastIndexByte(word, '/')+1]
	place, err := t.Find(ctx, before)
	above, ok := place.Node.(tree.Dir)
	if err != nil || !ok {
		return nil
	}
	var paths []string
	for one, err := range above.List(ctx) {
		if err != nil {
			break // what is known is enough
		}
		path := before + one.Name
		if one.Mode.IsDir() {
			path += "/"
		}
		paths = append(paths, path)
	}
	return paths
}
