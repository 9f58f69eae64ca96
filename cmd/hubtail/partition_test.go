package main

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/proxy"
	"github.com/hubtail/hubtail/schemas"
)

// network is the proxies between the servers of a cluster, by who connects to whom.
type network map[[2]int]*proxy.Proxy

func startNetwork(t *testing.T) (network, *natsCluster) {
	t.Helper()
	links := network{}
	c := startClusterOver(t, func(from, to int, address string) string {
		p, err := proxy.Start(address)
		must(t, err)
		t.Cleanup(func() { _ = p.Close() })
		links[[2]int{from, to}] = p
		return p.Addr()
	})
	return links, c
}

// cutOff separates a server from both others: nothing arrives any more, as where a cable is pulled, or connections end and
// are refused, as where a firewall does it.
func (n network) cutOff(server int, silently bool) {
	for ends, link := range n {
		switch {
		case ends[0] != server && ends[1] != server:
		case silently:
			link.Silence(true)
		default:
			link.Refuse(true)
			link.Cut()
		}
	}
}

func (n network) heal() {
	for _, link := range n {
		link.Heal()
	}
}

// lead makes a server the leader of the log.
func (c *natsCluster) lead(s *stack, server int) {
	c.t.Helper()
	request, err := json.Marshal(map[string]any{"placement": map[string]string{"preferred": c.nodes[server].Name}})
	must(c.t, err)
	asked := time.Time{}
	s.eventually(2*time.Minute, c.nodes[server].Name+" leads the log", func() bool {
		if c.index(leaderOf(s.js, false)) == server {
			return true
		}
		if time.Since(asked) > 5*time.Second { // an election takes its time
			asked = time.Now()
			_, _ = s.js.Conn().Request("$JS.API.STREAM.LEADER.STEPDOWN.HUBSPOT", request, 5*time.Second) // or later
		}
		return false
	})
}

// TestAPartitionOfTheClusterLosesNothing cuts the server that leads the log off from both others, while clients still reach
// it: a source that reads HubSpot, a sink, and somebody who publishes. Then one that does not lead. What the minority is given
// is not acknowledged and never in the log; a source and a sink of the others go on; and in the end log and tables equal the
// source, nothing twice.
func TestAPartitionOfTheClusterLosesNothing(t *testing.T) {
	t.Parallel()
	objects := []string{"contacts", "companies", "deals", "tickets", "calls"}
	const minority = 0
	links, c := startNetwork(t)
	majority := c.url(1) + "," + c.url(2)
	s := newClusterStack(t, majority)
	inside := connectCluster(t, c.url(minority))
	s.eventually(2*time.Minute, "the stream is there", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, err := jetlog.Ensure(ctx, s.js, jetlog.StreamConfig("HUBSPOT", 3))
		return err == nil
	})
	env := s.env
	s.env = append(env[:len(env):len(env)], "NATS_URL="+c.url(minority))
	processes := []*process{s.start("source"), s.start("sink")}
	s.eventually(2*time.Minute, "the log begins", func() bool { return s.lastSeq() > 0 }, processes...)
	s.env = env
	processes = append(processes, s.start("source"), s.start("sink"))
	live, stopLive := context.WithCancel(context.Background())
	defer stopLive()
	go s.simulator.Live(live, 20)

	var subjects []string
	for round, silently := range []bool{true, false} {
		leader := minority
		if round > 0 {
			leader = 1
		}
		c.lead(s, leader)
		links.cutOff(minority, silently)
		// The others have a leader, and a source that reads HubSpot.
		until, tried := uint64(0), 0
		s.eventually(4*time.Minute, "the log grows without "+c.nodes[minority].Name, func() bool {
			if new := c.index(leaderOf(s.js, false)); until == 0 && new > minority {
				until = s.lastSeq() + 50
			}
			subject, err := publishTo(inside, 1000*round+tried)
			if tried++; err == nil {
				t.Errorf("the minority acknowledged %s", subject)
			}
			subjects = append(subjects, subject)
			return until > 0 && s.lastSeq() >= until
		}, processes...)
		links.heal()
	}
	for _, subject := range subjects {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		stream, err := s.js.Stream(ctx, "HUBSPOT")
		must(t, err)
		if m, err := stream.GetLastMsgForSubject(ctx, subject); !errors.Is(err, jetstream.ErrMsgNotFound) {
			t.Errorf("what was not acknowledged is in the log: %v %v", m, err)
		}
		cancel()
	}
	stopLive()
	conn := s.connect()
	changed := s.simulator.Now()
	s.eventually(3*time.Minute, "the tables are complete", func() bool { return s.completeThrough(conn, objects, changed) }, processes...)
	s.requireEqual(conn, append(objects, "owners"))
	requireNoEventTwice(t, s.js)
}

// publishTo publishes a contact that HubSpot does not have.
func publishTo(js jetstream.JetStream, n int) (subject string, err error) {
	e := schemas.Event{
		Portal: "4711", Object: "contacts", ObjectTypeID: "0-1", ID: strconv.Itoa(9_000_000 + n), Op: schemas.OpCreated, Origin: schemas.OriginPoll,
		CreatedAt: time.Now(), UpdatedAt: time.Now(), Properties: schemas.MakeProperties(map[string]string{"email": "minority@example.org"}),
	}
	m := e.Encode()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err = js.Publish(ctx, m.Subject, m.Data, jetstream.WithRetryAttempts(0))
	return m.Subject, err
}
