package main

import (
	"fmt"
	"io"
	"log/slog"
)

// newLogger writes to w at the level and in the format the flags ask for.
func newLogger(w io.Writer, o options) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(o.logLevel)); err != nil {
		return nil, usageError{fmt.Errorf("--log-level is %q; use debug, info, warn or error", o.logLevel)}
	}
	opts := &slog.HandlerOptions{Level: level}
	switch o.logFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format is %q; use text or json", o.logFormat)}
}
