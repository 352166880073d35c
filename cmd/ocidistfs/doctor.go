package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kingpin/v2"
)

const doctorExamples = `ocidistfs doctor
# Can these registries be reached, and do they let me in?
ocidistfs doctor docker.io registry.example.com
# As a mount with these flags would be:
ocidistfs doctor --cache-dir /srv/cache --ca-cert ca.pem registry.example.com
# For programs:
ocidistfs doctor --json | jq '.[] | select(.state == "broken")'
`

// A finding is what the doctor says of one thing.
type finding struct {
	// About is the thing, such as "/dev/fuse".
	About string `json:"about"`
	// State is "ok"; "note" for what is less than it could be, and may be meant so;
	// "broken" for what has to be mended.
	State string `json:"state"`
	// Text is what was found, Advice the way out, where there is one.
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

// The states.
const (
	stateOK     = "ok"
	stateNote   = "note"
	stateBroken = "broken"
)

func sound(about, format string, args ...any) finding {
	return finding{About: about, State: stateOK, Text: fmt.Sprintf(format, args...)}
}

func note(about, text, advice string) finding {
	return finding{About: about, State: stateNote, Text: text, Advice: advice}
}

func broken(about, text, advice string) finding {
	return finding{About: about, State: stateBroken, Text: text, Advice: advice}
}

// failed is a finding of an error, with what is known to help.
func failed(about string, err error) finding {
	text, way, _ := strings.Cut(explain(err), "\n  ")
	return broken(about, text, way)
}

// A doctor looks for what keeps the program from working.
type doctor struct {
	connection connection
	cacheDir   string
	hosts      hosts
	found      []finding
	show       func(finding) error
	err        error // of show
}

func addDoctor(app *kingpin.Application) (string, command) {
	var d doctor
	var asJSON bool
	cmd := app.Command("doctor", "Look for what keeps mounts and registries from working: FUSE, the cache directory, credentials, proxies, and the hosts named.").HelpLong(doctorExamples)
	d.connection.flags(cmd)
	cacheFlag(cmd, &d.cacheDir)
	cmd.Flag("json", "For programs: a list of objects, one a finding.").BoolVar(&asJSON)
	cmd.Arg("HOST", "A registry to ask whether it lets one in, as in docker.io; any number of them.").SetValue(&d.hosts)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		d.found = []finding{}
		d.show = func(f finding) error { return writeFinding(s.out, f) }
		if asJSON {
			d.show = func(finding) error { return nil }
		}
		if err := d.examine(ctx, s); err != nil {
			return err
		}
		if asJSON {
			if err := writeJSON(s.out, d.found); err != nil {
				return err
			}
		}
		return d.verdict()
	}
}

// examine looks at everything.
func (d *doctor) examine(ctx context.Context, s streams) error {
	if d.connection.Username != "" && len(d.hosts) != 1 {
		return usagef("--username is for one host: name exactly one")
	}
	if err := d.connection.check(ctx, s.in); err != nil {
		return err
	}
	d.machine()
	if err := d.cache(); err != nil {
		return err
	}
	d.logins(ctx)
	d.proxies(ctx)
	if len(d.hosts) > 0 && d.err == nil {
		if err := d.registries(ctx); err != nil {
			return err
		}
	}
	return d.err
}

// add takes a finding, and shows it.
func (d *doctor) add(f finding) {
	d.found = append(d.found, f)
	if d.err == nil {
		d.err = d.show(f)
	}
}

// verdict is an error where something is broken.
func (d *doctor) verdict() error {
	n := 0
	for _, f := range d.found {
		if f.State == stateBroken {
			n++
		}
	}
	switch n {
	case 0:
		return nil
	case 1:
		return fmt.Errorf("doctor: 1 of %d findings is of something broken", len(d.found))
	}
	return fmt.Errorf("doctor: %d of %d findings are of something broken", n, len(d.found))
}

// writeFinding writes a line, and the way out on one of its own.
func writeFinding(w io.Writer, f finding) error {
	_, err := fmt.Fprintf(w, "%-7s %s: %s\n", f.State, f.About, f.Text)
	if err == nil && f.Advice != "" {
		_, err = fmt.Fprintf(w, "          %s\n", f.Advice)
	}
	return err
}
