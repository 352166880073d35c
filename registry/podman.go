package registry

import (
	"bytes"
	"errors"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
)

// A login is what podman has for a host, or for the repositories whose name
// begins with of.
type login struct {
	of     string
	config types.AuthConfig
}

var _ authn.Authenticator = (*login)(nil)

// Authorization returns the credentials.
func (l *login) Authorization() (*authn.AuthConfig, error) {
	return &authn.AuthConfig{
		Username: l.config.Username, Password: l.config.Password,
		IdentityToken: l.config.IdentityToken, RegistryToken: l.config.RegistryToken,
	}, nil
}

// podman returns the login for the longest part of a repository's name, or nil.
// go-containerregistry's keychain does not: it reads podman's file only where
// docker has none, takes any login that begins with the host, and knows Docker
// Hub by docker's name alone.
func podman(r authn.Resource) (*login, error) {
	for _, path := range podmanFiles() {
		b, err := os.ReadFile(path)
		if errors.Is(err, iofs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		file, err := config.LoadFromReader(bytes.NewReader(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		host := CanonicalHost(r.RegistryStr())
		rest := strings.TrimPrefix(r.String(), r.RegistryStr())
		for {
			if config, ok := file.AuthConfigs[host+rest]; ok {
				return &login{host + rest, config}, nil
			}
			i := strings.LastIndexByte(rest, '/')
			if i < 0 {
				return nil, nil
			}
			rest = rest[:i]
		}
	}
	return nil, nil
}

// podmanFiles are where podman looks, until one exists (containers-auth.json(5)).
func podmanFiles() []string {
	if path := os.Getenv("REGISTRY_AUTH_FILE"); path != "" {
		return []string{path}
	}
	var paths []string
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "containers/auth.json"))
	}
	dir := os.Getenv("XDG_CONFIG_HOME")
	if dir == "" {
		dir = filepath.Join(os.Getenv("HOME"), ".config") // on a Mac too
	}
	return append(paths, filepath.Join(dir, "containers/auth.json"))
}
