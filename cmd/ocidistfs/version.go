package main

import (
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/alecthomas/kingpin/v2"
)

// version is set by the linker in a release.
var version string

func versionString() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}

func addVersion(app *kingpin.Application) (string, command) {
	cmd := app.Command("version", "Show the version.").HelpLong("ocidistfs version")
	return cmd.FullCommand(), func(_ context.Context, s streams) error {
		_, err := fmt.Fprintf(s.out, "ocidistfs %s %s %s/%s\n", versionString(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return err
	}
}
