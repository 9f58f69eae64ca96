package main

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
)

// portalLeader is who reads a portal.
type portalLeader struct {
	Portal string            `json:"portal"`
	Leader *connector.Leader `json:"leader"` // nil if nobody does now
}

// readLeaders fills in who reads the portals of the log. A user who may not ask that is told the rest.
func (s *status) readLeaders(ctx context.Context, js jetstream.JetStream) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, o := range s.Log.Objects {
		if slices.ContainsFunc(s.Leaders, func(l portalLeader) bool { return l.Portal == o.Portal }) {
			continue
		}
		leader, err := connector.ReadLeader(ctx, js, s.Log.Stream, o.Portal)
		if err != nil {
			return
		}
		s.Leaders = append(s.Leaders, portalLeader{o.Portal, leader})
	}
}

func (s *status) printLeaders(w io.Writer) {
	for _, l := range s.Leaders {
		if l.Leader == nil {
			printf(w, "source  nobody reads portal %s now\n", l.Portal)
			continue
		}
		printf(w, "source  %s reads portal %s (%s)\n", l.Leader.Instance, l.Portal, l.Leader.Task)
	}
}
