package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	iofs "io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/ocidistfs/ocidistfs/registry"
)

const (
	// nearPages and nearLimit bound what is asked to say what was meant.
	nearPages = 2
	nearLimit = 5 * time.Second
	// nearShown is how many a person wants to see.
	nearShown = 5
)

// nearTags says what a repository has in place of a tag that it does not have.
func nearTags(ctx context.Context, repo *registry.Repository, tag string) string {
	ctx, cancel := context.WithTimeout(ctx, nearLimit)
	defer cancel()
	var tags []string
	for t, err := range repo.SomeTags(ctx, nearPages) {
		if errors.Is(err, iofs.ErrNotExist) {
			return fmt.Sprintf("%s has no repository %s, or does not show it without a login", repo.Host(), strings.TrimPrefix(repo.Name(), repo.Host()+"/"))
		}
		if err != nil {
			break // what came may help
		}
		tags = append(tags, t)
	}
	list := "ocidistfs tags " + repo.Name()
	near := nearest(tag, tags)
	switch {
	case len(near) > 0:
		return fmt.Sprintf("there is no such tag; near ones: %s; all of them: %s", strings.Join(near, ", "), list)
	case len(tags) > 0:
		return fmt.Sprintf("there is no such tag; which there are, says %s", list)
	}
	return "there is no such tag"
}

// nearest returns the tags most like one, best first: those that go on where
// it ends, then those that differ in few letters.
func nearest(tag string, tags []string) []string {
	far := max(2, len(tag)/3)
	distances := map[string]int{}
	for _, t := range tags {
		d := distance(strings.ToLower(tag), strings.ToLower(t))
		if strings.HasPrefix(t, tag) {
			d = 0
		}
		if d <= far && d < max(len(tag), len(t)) { // at least a letter in common
			distances[t] = d
		}
	}
	near := slices.Collect(maps.Keys(distances))
	slices.SortFunc(near, func(a, b string) int {
		return cmp.Or(cmp.Compare(distances[a], distances[b]), cmp.Compare(len(a), len(b)), strings.Compare(a, b))
	})
	return near[:min(len(near), nearShown)]
}

// distance is how many bytes to insert, delete or replace make b of a
// (Levenshtein). Tags are short and ASCII.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
