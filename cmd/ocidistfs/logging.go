package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/alecthomas/kingpin/v2"
)

// logging is where a mount logs to, and how much.
type logging struct {
	File  string
	Level string
}

func (l *logging) flags(cmd *kingpin.CmdClause) {
	cmd.Flag("log-file", "Append the log to this file; by default it goes to standard error, and in the background nowhere.").PlaceHolder("FILE").StringVar(&l.File)
	cmd.Flag("log-level", "What is worth a line: debug, info, warn or error.").Default("warn").EnumVar(&l.Level, "debug", "info", "warn", "error")
}

// open returns the logger; the caller closes what it writes to.
func (l *logging) open(fallback io.Writer) (*slog.Logger, func(), error) {
	var level slog.Level
	if l.Level != "" {
		if err := level.UnmarshalText([]byte(l.Level)); err != nil {
			return nil, nil, err
		}
	}
	w, end := fallback, func() {}
	if l.File != "" {
		f, err := os.OpenFile(l.File, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
		if err != nil {
			return nil, nil, fmt.Errorf("--log-file: %w", err)
		}
		w, end = f, func() { _ = f.Close() }
	}
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level})), end, nil
}

// warnings is the log of a command that a person waits for: what is worth a
// line, without the time.
func warnings(w io.Writer) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey && len(groups) == 0 {
				return slog.Attr{}
			}
			return a
		},
	}))
}
