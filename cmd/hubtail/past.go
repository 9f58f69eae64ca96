package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/history"
)

// past is the log for the commands that look into its history. They only read, and ask HubSpot nothing.
type past struct {
	*history.Log
	js    jetstream.JetStream
	types []history.ObjectType
}

// openPast opens the log of one portal. Without --nats-url it is that of the embedded server, if there is one.
func (p *parts) openPast(ctx context.Context) (*past, error) {
	js, err := p.connectLog(ctx)
	if err != nil {
		return nil, err
	}
	portal, err := p.onlyPortal(ctx, js)
	if err != nil {
		return nil, err
	}
	log, err := history.Open(ctx, js, p.stream, portal)
	if err != nil {
		return nil, err
	}
	types, err := log.Objects(ctx)
	return &past{log, js, types}, err
}

// connectLog connects to a log that is there, at --nats-url or in --data-dir, and makes none: a command that was started in
// another directory would find an empty one, and say so.
func (p *parts) connectLog(ctx context.Context) (jetstream.JetStream, error) {
	if p.natsURL == "" {
		if _, err := os.Stat(filepath.Join(p.dataDir, "nats")); err != nil {
			return nil, p.requireNATS()
		}
	}
	return p.connectNATS(ctx, true)
}

// object returns an object type as the log names it, by its name, singular or type id.
func (p *past) object(name string) (string, error) {
	known := objectName(name, p.types)
	var names []string
	for _, t := range p.types {
		if t.Name == known {
			return known, nil
		}
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return "", usageError{fmt.Errorf("the log has no object type %q%s; it has %s", name, didYouMean(name, names), strings.Join(names, ", "))}
}

// objectName returns the name of an object type in the log, or what it would be.
func objectName(name string, types []history.ObjectType) string {
	if standard, ok := hubspot.ObjectByName(spelled(name)); ok {
		return standard.Name
	}
	for _, t := range types {
		if name == t.TypeID && name != "" || "p_"+name == t.Name {
			return t.Name
		}
	}
	return name
}

// objects returns object types as the log names them.
func (p *past) objects(names []string) ([]string, error) {
	known := make([]string, len(names))
	for i, name := range names {
		var err error
		if known[i], err = p.object(name); err != nil {
			return nil, err
		}
	}
	return known, nil
}

// moment reads an argument that names a moment of the log.
func (p *past) moment(ctx context.Context, text string) (history.Moment, error) {
	m, err := p.Resolve(ctx, text, time.Now())
	if errors.Is(err, history.ErrMoment) {
		return m, usageError{err}
	}
	return m, err
}

// recordArguments returns the object type and id that are the arguments of a command about one record.
func recordArguments(command string, args []string) (object, id string, err error) {
	example := fmt.Sprintf("hubtail %s contacts 713492963559", command)
	if len(args) != 2 {
		return "", "", usageError{fmt.Errorf("name an object type and the id of a record: %s", example)}
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil || n <= 0 {
		return "", "", usageError{fmt.Errorf("%q is not a record id: those are numbers", args[1])}
	}
	return args[0], strconv.FormatInt(n, 10), nil
}

// maxShown is how many bytes of a value are shown on a line.
const maxShown = 120

// shown writes a value so that it takes one line and nothing in it moves the cursor.
func shown(v *string) string {
	if v == nil {
		return "(none)"
	}
	if len(*v) > maxShown {
		return strconv.Quote(strings.ToValidUTF8((*v)[:maxShown], "")) + fmt.Sprintf("... (%d bytes)", len(*v))
	}
	return strconv.Quote(*v)
}

// shownName writes a name so that nothing in it moves the cursor.
func shownName(name string) string {
	if quoted := strconv.Quote(name); quoted != `"`+name+`"` {
		return quoted
	}
	return name
}

// stamp writes a time of the log.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000Z")
}

// wanted reports whether a list that selects has a name; an empty one has all.
func wanted(list []string, name string) bool { return len(list) == 0 || slices.Contains(list, name) }
