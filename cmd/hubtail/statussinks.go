package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/sink"
)

// readerStatus is what the consumer of the sinks knows: it also speaks of those that do not answer.
type readerStatus struct {
	Consumer string `json:"consumer"`
	// Waiting counts the requests for more: none means that nobody reads.
	Waiting int `json:"waiting"`
	// Unread counts messages that nobody has fetched yet, Unacknowledged those that were fetched and not applied.
	Unread          uint64    `json:"unread"`
	Unacknowledged  int       `json:"unacknowledged"`
	LastAcknowledge time.Time `json:"last_acknowledge,omitzero"`
}

// readSinks fills in how the running sinks are, by asking them, and what their consumer says. A user who may not ask that is
// told the rest.
func (s *status) readSinks(ctx context.Context, js jetstream.JetStream, stream, consumer string) {
	if consumer == "" {
		consumer = sink.DefaultConsumer // a source's page has no say in it
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if reports, err := sink.ReadReports(ctx, js.Conn(), stream); err == nil {
		s.Sinks = slices.DeleteFunc(reports, func(r sink.Report) bool { return r.Consumer != consumer })
		slices.SortFunc(s.Sinks, func(a, b sink.Report) int { return strings.Compare(a.Instance, b.Instance) })
	}
	c, err := js.Consumer(ctx, stream, consumer)
	if err != nil {
		return // no sink has read this log yet, or it may not be asked
	}
	info := c.CachedInfo()
	s.Reader = &readerStatus{Consumer: consumer, Waiting: info.NumWaiting, Unread: info.NumPending, Unacknowledged: info.NumAckPending}
	if info.AckFloor.Last != nil {
		s.Reader.LastAcknowledge = *info.AckFloor.Last
	}
}

// judgeSinks finds sinks that wait for something, and a log that nobody applies.
func (s *status) judgeSinks() {
	for _, r := range s.Sinks {
		if r.Stats.Error != "" {
			s.problem("sink %s waits since %s and goes on by itself when this is over: %s", r.Instance,
				r.Stats.ErrorSince.UTC().Format(time.DateTime), r.Stats.Error)
		}
	}
	if c := s.Reader; c != nil && len(s.Sinks) == 0 && c.Waiting == 0 && c.Unread+uint64(c.Unacknowledged) > 0 {
		s.problem("no sink reads the log: %s wait for one%s; is `hubtail sink` running, and does it reach NATS?", c.behindText(), c.sinceText())
	}
}

func (c *readerStatus) behindText() string {
	text := thousands(int64(c.Unread)) + " messages"
	if c.Unacknowledged > 0 {
		text += fmt.Sprintf(" and %s that were fetched and not applied", thousands(int64(c.Unacknowledged)))
	}
	return text
}

func (c *readerStatus) sinceText() string {
	if c.LastAcknowledge.IsZero() {
		return ""
	}
	return ", the last was applied at " + c.LastAcknowledge.UTC().Format(time.DateTime)
}

func (s *status) printSinks(w io.Writer) {
	for _, r := range s.Sinks {
		state := "works"
		if r.Stats.Error != "" {
			state = "waits since " + ago(s.At, r.Stats.ErrorSince)
		}
		printf(w, "sink    %s %s, schema %s, applied through %d\n", r.Instance, state, r.Schema, r.Stats.Position)
	}
}
