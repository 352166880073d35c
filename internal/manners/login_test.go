package manners

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// A login is a place where people keep their passwords.
type login int

const (
	nowhere       login = iota
	dockerFile          // docker's config.json
	dockerHelper        // a credential helper, for the host
	dockerStore         // a credential helper, for all hosts
	podmanFile          // what REGISTRY_AUTH_FILE names
	podmanRuntime       // below XDG_RUNTIME_DIR
	flags               // --username and --password-stdin
)

// source is how the program calls it.
func (l login) source() string {
	return map[login]string{
		nowhere: "without credentials", dockerFile: "docker", dockerHelper: "docker", dockerStore: "docker",
		podmanFile: "podman", podmanRuntime: "podman", flags: "--username",
	}[l]
}

// helperName is that of the credential helper, after "docker-credential-".
const helperName = "manners"

// logIn makes the user one who is logged in to a host.
func (u *user) logIn(t *testing.T, l login, host, username, password string) {
	t.Helper()
	basic := base64.StdEncoding.EncodeToString([]byte(username + ":" + password))
	auths := map[string]any{"auths": map[string]any{host: map[string]string{"auth": basic}}}
	switch l {
	case nowhere:
	case dockerFile:
		u.writeJSON(t, ".docker/config.json", auths)
	case dockerHelper:
		u.writeJSON(t, ".docker/config.json", map[string]any{"credHelpers": map[string]string{host: helperName}})
		u.installHelper(t, host, username, password)
	case dockerStore:
		u.writeJSON(t, ".docker/config.json", map[string]any{"auths": map[string]any{host: map[string]any{}}, "credsStore": helperName})
		u.installHelper(t, host, username, password)
	case podmanFile:
		u.env = append(u.env, "REGISTRY_AUTH_FILE="+u.writeJSON(t, "elsewhere/auth.json", auths))
	case podmanRuntime:
		u.writeJSON(t, "run/containers/auth.json", auths)
		u.env = append(u.env, "XDG_RUNTIME_DIR="+filepath.Join(u.home, "run"))
	case flags:
		u.flags = append(u.flags, "--username", username, "--password-stdin")
		u.stdin = password + "\n"
	}
}

// installHelper puts a credential helper into the user's path that knows one host
// (docker-credential-helpers, "Development").
func (u *user) installHelper(t *testing.T, host, username, password string) {
	t.Helper()
	script := fmt.Sprintf(`#!/bin/sh
read -r host
if [ "$1" = get ] && [ "$host" = %q ]; then
	echo '{"ServerURL":%q,"Username":%q,"Secret":%q}'
else
	echo "credentials not found in native keychain"
	exit 1
fi
`, host, host, username, password)
	u.write(t, "bin/docker-credential-"+helperName, []byte(script), 0o700)
}

// writeJSON writes a file of the user's configuration.
func (u *user) writeJSON(t *testing.T, name string, value any) (path string) {
	t.Helper()
	b, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return u.write(t, name, b, 0o600)
}

func (u *user) write(t *testing.T, name string, b []byte, mode os.FileMode) (path string) {
	t.Helper()
	path = filepath.Join(u.home, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, mode); err != nil {
		t.Fatal(err)
	}
	u.configured = append(u.configured, path)
	return path
}
