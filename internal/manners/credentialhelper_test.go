package manners

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// noHelp has credential helpers that are of no help. What is public can be
// read all the same, and what podman is logged in to.
func noHelp(t *testing.T, b *bench) {
	public := b.open(t, setting{kind: distribution3})
	private := b.open(t, setting{kind: distribution3, auth: distributiontest.Basic})
	for _, c := range []struct {
		name   string
		config string // what docker is configured with; %s is the host
		script string // the helper's
		reason string // what the user is told
	}{
		{"missing, of a host", `{"credHelpers":{"%s":"gone"}}`, "", "docker-credential-gone"},
		{"missing, of all hosts", `{"credsStore":"gone","auths":{"%s":{}}}`, "", "docker-credential-gone"},
		{"failing", `{"credHelpers":{"%s":"manners"}}`, "echo the keyring is locked; exit 1", "the keyring is locked"},
		{"talking", `{"credHelpers":{"%s":"manners"}}`, `echo '{"Username":"user","Secret":"a-wrong-secret"}'; exit 1`, "docker-credential-manners"},
		{"killed", `{"credHelpers":{"%s":"manners"}}`, "kill -9 $$", "docker-credential-manners"},
		{"no configuration", `{"auths":%s`, "", "config.json"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, s := range []*site{public, private} {
				u := newUser(t, b)
				u.write(t, ".docker/config.json", fmt.Appendf(nil, c.config, s.host), 0o600)
				if c.script != "" {
					u.write(t, "bin/docker-credential-"+helperName, []byte("#!/bin/sh\n"+c.script+"\n"), 0o700)
				}
				u.mount(t, s.host)
				if s == public {
					checkManifest(t, u, manifestOf(t, b.content.image.RawManifest), s.host, imageRepository, "tags", imageTag)
				} else {
					u.checkRefused(t, s.host, "EACCES", syscall.EACCES, "401 Unauthorized", "without credentials", c.reason)
					_, err := u.try(t, "", u.ask("tags", s.host+"/"+imageRepository)...)
					if err == nil || !strings.Contains(err.Error(), c.reason) {
						t.Errorf("tags: %v; want %q", err, c.reason)
					}
				}
				if log := string(readFile(t, u.path("log"))); strings.Count(log, c.reason) == 0 || strings.Count(log, "no credentials") != 1 {
					t.Errorf("the log should say once that there are no credentials, and %q: %s", c.reason, log)
				}
				u.checkSecrets(t)
			}
			u := newUser(t, b)
			u.write(t, ".docker/config.json", fmt.Appendf(nil, c.config, private.host), 0o600)
			u.logIn(t, podmanFile, private.host, distributiontest.Username, distributiontest.Password)
			u.mount(t, private.host)
			checkManifest(t, u, manifestOf(t, b.content.image.RawManifest), private.host, imageRepository, "tags", imageTag)
			u.checkSecrets(t)
		})
	}
}
