package manners

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// untrusted has an authority that nobody named: it vouches for nothing.
func untrusted(t *testing.T, b *bench) {
	s := b.open(t, setting{kind: inProcess, front: front{nginx: true}})
	u := newUser(t, b)
	u.flags = nil
	u.mount(t, s.host)
	u.checkRefused(t, s.host, "EPROTO", syscall.EPROTO, "certificate")
}

// linksElsewhere has a next page on another host, as a registry has it that takes
// the address which its proxy knows for its own. It is not asked for: the list
// fails, rather than to be short.
func linksElsewhere(t *testing.T, b *bench) {
	s := b.open(t, setting{many: true, kind: distribution3, front: front{nginx: true, links: "https", linksTo: elsewhere + ":1"}})
	u := newUser(t, b)
	u.mount(t, s.host)
	if _, err := os.ReadDir(u.in(s.host, imageRepository, "tags")); !errors.Is(err, syscall.EPROTO) {
		t.Errorf("list tags: %v; want EPROTO", err)
	}
	if told := u.text(t, ".ocidistfs/errors"); !strings.Contains(told, "the next page is on "+elsewhere+":1") {
		t.Errorf("errors: %s", told)
	}
	checkManifest(t, u, manifestOf(t, b.content.image.RawManifest), s.host, imageRepository, "tags", imageTag)
}
