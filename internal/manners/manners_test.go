// Package manners mounts real registries, as people run them, with the real
// program: of several kinds, behind proxies, with each way to log in. It is no
// part of make test: make manners installs what it needs and runs it.
package manners

import (
	"testing"

	"github.com/ocidistfs/ocidistfs/internal/distributiontest"
)

// enabled is the variable that make manners sets.
const enabled = "OCIDISTFS_MANNERS"

// A setting is a registry, what stands before it, and how its users log in.
type setting struct {
	name  string
	kind  kind
	front front
	auth  distributiontest.Auth
	login login // where there is a password
	many  bool  // more tags than a page has
}

// settings are not all combinations: each kind of registry is behind each front,
// and asked with each way to authenticate that it has, and each login is used.
var settings = []setting{
	{name: "distribution 2", many: true, kind: distribution2},
	{name: "distribution 3", many: true, kind: distribution3},
	{name: "go-containerregistry", many: true, kind: inProcess},
	{name: "distribution 2, basic, docker", kind: distribution2, auth: distributiontest.Basic, login: dockerFile},
	{name: "distribution 3, bearer, flags", kind: distribution3, auth: distributiontest.Bearer, login: flags},

	{name: "distribution 2, TLS", kind: distribution2, front: front{nginx: true}},
	{name: "distribution 2, TLS, bearer, docker's helper", many: true, kind: distribution2, front: front{nginx: true}, auth: distributiontest.Bearer, login: dockerHelper},
	{name: "distribution 3, TLS, basic, podman's file", kind: distribution3, front: front{nginx: true}, auth: distributiontest.Basic, login: podmanFile},
	{name: "distribution 3, TLS, bearer, podman's runtime directory", kind: distribution3, front: front{nginx: true}, auth: distributiontest.Bearer, login: podmanRuntime},
	{name: "go-containerregistry, TLS, nginx's basic, docker's store", many: true, kind: inProcess, front: front{nginx: true}, auth: distributiontest.Basic, login: dockerStore},
	{name: "distribution 2, TLS, host not passed on", many: true, kind: distribution2, front: front{nginx: true, forgetsHost: true}},
	{name: "distribution 3, TLS, host not passed on, basic", many: true, kind: distribution3, front: front{nginx: true, forgetsHost: true}, auth: distributiontest.Basic, login: dockerFile},
	{name: "distribution 3, TLS, links without TLS", many: true, kind: distribution3, front: front{nginx: true, links: "http"}},

	{name: "distribution 2, redirects, bearer, podman's file", kind: distribution2, front: front{redirects: true}, auth: distributiontest.Bearer, login: podmanFile},
	{name: "distribution 3, redirects, basic, docker", many: true, kind: distribution3, front: front{redirects: true}, auth: distributiontest.Basic, login: dockerFile},
	{name: "go-containerregistry, redirects", kind: inProcess, front: front{redirects: true}},

	{name: "distribution 2, no ranges", kind: distribution2, front: front{nginx: true, rangeless: true}},
	{name: "distribution 3, no ranges, bearer, docker's helper", kind: distribution3, front: front{nginx: true, rangeless: true}, auth: distributiontest.Bearer, login: dockerHelper},
	{name: "go-containerregistry, no ranges", kind: inProcess, front: front{nginx: true, rangeless: true}},
}

// TestManners has a subtest for each setting, and some for what is not well.
func TestManners(t *testing.T) {
	b := newBench(t)
	for _, s := range settings {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			site := b.open(t, s)
			walk(t, b, site)
			if s.auth != distributiontest.Open {
				turnedAway(t, b, site)
			}
		})
	}
	t.Run("helpers", func(t *testing.T) { t.Parallel(); noHelp(t, b) })
	t.Run("untrusted", func(t *testing.T) { t.Parallel(); untrusted(t, b) })
	t.Run("links elsewhere", func(t *testing.T) { t.Parallel(); linksElsewhere(t, b) })
}
