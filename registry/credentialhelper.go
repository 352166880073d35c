package registry

import (
	"fmt"
	"os"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/google/go-containerregistry/pkg/authn"
)

// helperError makes what docker's code says of a credential helper fit to be told:
// it names the program, and does not repeat what looks like credentials. (An error
// too is written to standard output, by the protocol of helpers.)
func helperError(err error, r authn.Resource) error {
	text, out, failed := strings.Cut(err.Error(), ", out: ")
	if !failed {
		return err // of a file, not of a program
	}
	if !strings.Contains(out, `"Secret"`) {
		text += ", out: " + out
	}
	return fmt.Errorf("%s: %s", helperFor(r), text)
}

// helperFor is the program that docker asks for credentials of a host.
func helperFor(r authn.Resource) string {
	name := "?"
	if file, err := config.Load(os.Getenv("DOCKER_CONFIG")); err == nil {
		name = file.CredentialsStore
		for _, key := range []string{r.RegistryStr(), r.String()} {
			if helper := file.CredentialHelpers[key]; helper != "" {
				name = helper
			}
		}
	}
	return "docker-credential-" + name
}
