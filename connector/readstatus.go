package connector

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/hubtail/hubtail/schemas"
)

// LogStatus is what the log says about itself, whoever writes it.
type LogStatus struct {
	Stream   string         `json:"stream"`
	Messages uint64         `json:"messages"`
	Subjects uint64         `json:"subjects"` // about as many as records
	Bytes    uint64         `json:"bytes"`    // before compression
	LastSeq  uint64         `json:"last_seq"`
	LastTime time.Time      `json:"last_time,omitzero"`
	Objects  []LoggedObject `json:"objects"` // ascending by portal, object
}

// LoggedObject is where an object type stands in the log.
type LoggedObject struct {
	Portal  string         `json:"portal"`
	Object  string         `json:"object"`
	Cursor  schemas.Cursor `json:"cursor"`
	LastRun *schemas.Run   `json:"last_run,omitempty"`
}

// ReadStatus reads where every object type of a portal stands from the log, of all portals if portal is "". It needs
// neither HubSpot nor a running source.
func ReadStatus(ctx context.Context, js jetstream.JetStream, stream, portal string) (LogStatus, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	s, err := js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return LogStatus{}, fmt.Errorf("there is no log yet: start a source, it creates stream %s", stream)
	}
	if err != nil {
		return LogStatus{}, fmt.Errorf("look up stream %s: %w", stream, err)
	}
	state := s.CachedInfo().State
	status := LogStatus{
		Stream: stream, Messages: state.Msgs, Subjects: state.NumSubjects, Bytes: state.Bytes,
		LastSeq: state.LastSeq, LastTime: state.LastTime,
	}
	token := "*"
	if portal != "" {
		token = schemas.EncodeToken(portal)
	}
	prefix := schemas.Root + "." + token + "."
	last, err := jetstreamext.GetLastMsgsFor(ctx, js, stream, []string{
		prefix + string(schemas.KindCursor) + ".*", prefix + string(schemas.KindRun) + ".*",
	})
	if err != nil {
		return LogStatus{}, fmt.Errorf("read cursors and runs: %w", err)
	}
	objects := map[[2]string]*LoggedObject{}
	for m, err := range last {
		if errors.Is(err, jetstreamext.ErrNoMessages) {
			break
		}
		if err != nil {
			return LogStatus{}, fmt.Errorf("read cursors and runs: %w", err)
		}
		c, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
		if err != nil {
			return LogStatus{}, err
		}
		key := [2]string{c.Subject().Portal, c.Subject().Object}
		if objects[key] == nil {
			objects[key] = &LoggedObject{Portal: key[0], Object: key[1]}
		}
		switch c := c.(type) {
		case *schemas.Cursor:
			objects[key].Cursor = *c
		case *schemas.Run:
			objects[key].LastRun = c
		}
	}
	for _, o := range objects {
		status.Objects = append(status.Objects, *o)
	}
	if err := ctx.Err(); err != nil { // the client ends the answers silently then
		return LogStatus{}, fmt.Errorf("read cursors and runs: %w", err)
	}
	slices.SortFunc(status.Objects, func(a, b LoggedObject) int {
		return cmp.Or(cmp.Compare(a.Portal, b.Portal), cmp.Compare(a.Object, b.Object))
	})
	return status, nil
}
