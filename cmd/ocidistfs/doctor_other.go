//go:build !linux

package main

import "runtime"

func (d *doctor) machine() {
	d.add(note(runtime.GOOS, "mounts are for Linux; the commands tags, manifest and pull work here too", ""))
}

func diskFindings(string, string) []finding { return nil }
