package main

import (
	"context"
	"fmt"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/registry"
)

const tagsExamples = `ocidistfs tags docker.io/library/alpine
ocidistfs tags docker.io/library/alpine | sort --version-sort | tail -n 5
ocidistfs tags --insecure reg.example.com:5000 reg.example.com:5000/team/app
`

func addTags(app *kingpin.Application) (string, command) {
	var c connection
	var reference string
	cmd := app.Command("tags", "List the tags of a repository, one a line.").HelpLong(tagsExamples)
	c.flags(cmd)
	cmd.Arg("REPOSITORY", "<host>[:<port>]/path").Required().StringVar(&reference)
	return cmd.FullCommand(), func(ctx context.Context, s streams) error {
		ref, err := registry.ParseReference(reference)
		if err != nil {
			return usageError{err}
		}
		if ref.Tag != "" || ref.Digest != (registry.Digest{}) {
			return usagef("reference %q: tags are listed of a repository, without a tag or digest: %s", reference, ref.Name())
		}
		repo, _, end, err := c.repository(ctx, ref, s)
		if err != nil {
			return err
		}
		defer end()
		for tag, err := range repo.Tags(ctx) {
			if err != nil {
				return c.advise(ctx, repo, ref, err) // the tags that came are true all the same
			}
			// Unbuffered: where a page ends cannot be seen, and whoever reads the
			// first one must not wait for the next.
			if _, err := fmt.Fprintln(s.out, tag); err != nil {
				return err
			}
		}
		return nil
	}
}
