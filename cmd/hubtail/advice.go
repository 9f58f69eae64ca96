package main

import (
	"errors"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/sink"
)

// adviceOn returns what to do about an error that a command ends with, as the end of its line: what doctor would say of NATS
// and Postgres where they do not answer or refuse, and that doctor looks at the rest. It is "" for errors that say so
// themselves, or that are about something else.
func adviceOn(err error) string {
	text, fix := err.Error(), ""
	switch {
	case strings.Contains(text, "`hubtail "):
		return ""
	case strings.HasPrefix(text, "connect to nats"):
		_, _, fix = natsTrouble("", err)
	case sink.Advice(err) != "":
		return ". `hubtail doctor` looks at all of it"
	case strings.Contains(text, "connect to postgres"):
		fix = networkAdvice(err, "DATABASE_URL")
	case errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount), errors.Is(err, jetstream.ErrNoStreamResponse):
		_, _, fix = jsTrouble(err, "")
	}
	if fix == "" {
		return ""
	}
	return "; " + fix + ". `hubtail doctor` looks at all of it"
}
