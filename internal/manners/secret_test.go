package manners

import (
	"bytes"
	"encoding/base64"
	"fmt"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// wrongPassword is no registry's, and no less a secret.
const wrongPassword = "a-wrong-secret"

// secrets are what nobody may write down: passwords, also as they go over the
// wire, and tokens by how they begin.
func secrets() [][]byte {
	found := [][]byte{[]byte(`eyJhbGciOi`)}
	for _, password := range []string{distributiontest.Password, wrongPassword} {
		basic := base64.RawStdEncoding.EncodeToString([]byte(distributiontest.Username + ":" + password))
		found = append(found, []byte(password), []byte(basic))
	}
	return found
}

// checkSecrets looks for secrets in all that the user's programs wrote.
func (u *user) checkSecrets(t *testing.T) {
	t.Helper()
	proc := fmt.Sprintf("/proc/%d", u.status(t).Mount.PID)
	paths := []string{
		u.in(".ocidistfs/errors"), u.in(".ocidistfs/status.json"),
		filepath.Join(proc, "cmdline"), filepath.Join(proc, "environ"),
	}
	err := filepath.WalkDir(u.home, func(path string, d iofs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path == u.root:
			return filepath.SkipDir
		case d.Type().IsRegular() && !slices.Contains(u.configured, path):
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	written := map[string][]byte{"what was said": u.said.Bytes()}
	for _, path := range paths {
		if written[path], err = os.ReadFile(path); err != nil {
			t.Fatal(err)
		}
	}
	for path, b := range written {
		for _, secret := range secrets() {
			if i := bytes.Index(b, secret); i >= 0 {
				t.Errorf("%s has a secret: %.200q", path, b[max(0, i-80):])
			}
		}
	}
}
