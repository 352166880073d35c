package main

import (
	"bufio"
	"context"

	"github.com/alecthomas/kingpin/v2"

	"github.com/ocidistfs/ocidistfs/registry"
)

func addTags(app *kingpin.Application) (string, command) {
	var c connection
	var reference string
	cmd := app.Command("tags", "List the tags of a repository, one a line.\n\nExample: ocidistfs tags docker.io/library/alpine")
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
		repo, _, end, err := c.repository(ref, s)
		if err != nil {
			return err
		}
		defer end()
		out := bufio.NewWriter(s.out)
		n := 0
		for tag, err := range repo.Tags(ctx) {
			if err != nil {
				_ = out.Flush() // the tags that came are true all the same
				return err
			}
			if _, err := out.WriteString(tag + "\n"); err != nil {
				return err
			}
			// The first ones at once, so that a pipe into head need not wait.
			if n++; n <= 100 || n%1000 == 0 {
				if err := out.Flush(); err != nil {
					return err
				}
			}
		}
		return out.Flush()
	}
}

// repository returns the repository of a reference, and its client.
func (c *connection) repository(ref registry.Reference, s streams) (*registry.Repository, *registry.Client, func(), error) {
	if err := c.check(s.in); err != nil {
		return nil, nil, nil, err
	}
	client, err := c.client(ref.Host, warnings(s.err))
	if err != nil {
		return nil, nil, nil, err
	}
	repo, err := client.Repository(ref.Name())
	if err != nil {
		client.Close()
		return nil, nil, nil, err
	}
	return repo, client, client.Close, nil
}
