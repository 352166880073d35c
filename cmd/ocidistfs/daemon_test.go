package main

import (
	"path/filepath"
	"slices"
	"testing"
)

func TestDaemonEnvironment(t *testing.T) {
	absolute, err := filepath.Abs("config")
	if err != nil {
		t.Fatal(err)
	}
	got := daemonEnvironment([]string{
		"PATH=/bin", "OCIDISTFS_PASSWORD=secret", "OCIDISTFS_ANONYMOUS=", "EMPTY=", "ODD",
		"DOCKER_CONFIG=config", "REGISTRY_AUTH_FILE=/etc/auth.json", "SSL_CERT_FILE=", "OTHER=config",
		"NOT_OCIDISTFS_X=1",
	})
	want := []string{
		"PATH=/bin", "EMPTY=", "ODD",
		"DOCKER_CONFIG=" + absolute, "REGISTRY_AUTH_FILE=/etc/auth.json", "SSL_CERT_FILE=", "OTHER=config",
		"NOT_OCIDISTFS_X=1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
