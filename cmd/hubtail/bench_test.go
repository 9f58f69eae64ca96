package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// The portal this project was made for.
const portalContacts, portalDeals, portalCalls = 31_636, 1_193, 8_100

// benchContacts lets HUBTAIL_BENCH_CONTACTS ask for another size, for example 1000000.
func benchContacts() (contacts, deals, calls int) {
	if n, err := strconv.Atoi(os.Getenv("HUBTAIL_BENCH_CONTACTS")); err == nil {
		return n, 0, 0
	}
	return portalContacts, portalDeals, portalCalls
}

// BenchmarkMemory loads a portal, polls for a while, and prints the peak resident memory of each process beside its limit:
// all in one process, and source, sink and NATS apart.
//
//	go test -run - -bench Memory -benchtime 1x ./cmd/hubtail
//	HUBTAIL_BENCH_CONTACTS=1000000 go test -run - -bench Memory -benchtime 1x -timeout 1h ./cmd/hubtail
func BenchmarkMemory(b *testing.B) {
	for name, commands := range map[string][][]string{
		"together": {{"up"}},
		"apart":    {{"nats", "--listen", "127.0.0.1:0"}, {"source"}, {"sink"}},
	} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				benchmarkMemory(b, commands)
			}
		})
	}
}

func benchmarkMemory(b *testing.B, commands [][]string) {
	contacts, deals, calls := benchContacts()
	portal := simulator.Options{
		Contacts: contacts, Deals: deals, Calls: calls, BurstLimit: 190, Latency: 150 * time.Millisecond,
		DailyLimit: 10_000_000, IndexLag: simulator.Lag{Off: true},
	}
	if contacts > 100_000 { // faster than HubSpot, or it would take many minutes
		portal.Interval, portal.SearchInterval, portal.Latency = time.Second, 100*time.Millisecond, 20*time.Millisecond
	}
	s := newStack(b, portal)
	s.nats = "" // not the stack's own: the memory of NATS is measured, too
	s.env = append(s.env, "HUBTAIL_OBJECTS=contacts,deals,calls")
	if limit := os.Getenv("GOMEMLIMIT"); limit != "" {
		s.env = append(s.env, "GOMEMLIMIT="+limit)
	}
	var running []*process
	for _, command := range commands {
		p := s.start(command...)
		running = append(running, p)
		if command[0] == "nats" {
			s.eventually(time.Minute, "NATS listens", func() bool {
				n, _ := fmt.Sscanf(p.output.String(), "NATS listens on %s", &s.nats)
				return n == 1
			}, p)
		}
	}
	conn := s.connect()
	began := time.Now()
	s.eventually(time.Hour, "the tables are complete", func() bool {
		return s.completeThrough(conn, []string{"contacts"}, began)
	}, running...)
	var rows int
	if err := conn.QueryRow(context.Background(), "select count(*) from hubspot.contacts").Scan(&rows); err != nil || rows != contacts {
		b.Errorf("%d rows, %v", rows, err)
	}
	for i, p := range running {
		peak, now := p.memory(b)
		b.ReportMetric(peak, commands[i][0]+"-peak-MB")
		b.ReportMetric(now, commands[i][0]+"-now-MB")
		p.stop(b)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(time.Since(began).Seconds(), "s")
}

// memory returns a process' peak and present resident memory in MB.
func (p *process) memory(tb testing.TB) (peak, now float64) {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		var kb float64
		if n, _ := fmt.Sscanf(line, "VmHWM: %f kB", &kb); n == 1 {
			peak = kb / 1024
		}
		if n, _ := fmt.Sscanf(line, "VmRSS: %f kB", &kb); n == 1 {
			now = kb / 1024
		}
	}
	return peak, now
}

// BenchmarkPolling follows a portal by polling alone, at default settings, and prints what an idle minute costs of the
// daily quota and how long changes take to a committed row. The search index does not lag here.
//
//	go test -run - -bench Polling -benchtime 1x ./cmd/hubtail
func BenchmarkPolling(b *testing.B) {
	for range b.N {
		benchmarkPolling(b)
	}
}

func benchmarkPolling(b *testing.B) {
	const idle, changing = 3 * time.Minute, 3 * time.Minute
	objects := []string{"contacts", "companies", "deals", "tickets", "calls"}
	s := newStack(b, simulator.Options{
		Contacts: 2000, Companies: 200, Deals: 300, Tickets: 300, Calls: 500, Owners: 10, IndexLag: simulator.Lag{Off: true},
	})
	s.env = append(s.env, "HUBTAIL_POLL_INTERVAL=", "HUBTAIL_SETTLE_TIME=") // the defaults
	running := []*process{s.start("source"), s.start("sink")}
	conn := s.connect()
	loaded := s.simulator.Now()
	s.eventually(5*time.Minute, "the first load", func() bool { return s.completeThrough(conn, objects, loaded) }, running...)

	before := s.simulator.Stats()
	<-time.After(idle)
	after := s.simulator.Stats()
	perDay := float64(after.Requests-before.Requests) * float64(24*time.Hour/idle)

	began, random := s.simulator.Now(), rand.New(rand.NewPCG(1, 1))
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for end := time.After(changing); ; {
		select {
		case <-tick.C:
			object := objects[random.IntN(len(objects))]
			ids := s.simulator.IDs(object, random.IntN(200), 1, 1)
			if _, err := s.simulator.UpdateMany(object, ids, map[string]string{"hubspot_owner_id": strconv.Itoa(random.IntN(1e6))}, s.simulator.Now()); err != nil {
				b.Fatal(err)
			}
			continue
		case <-end:
		}
		break
	}
	changed := s.simulator.Now()
	s.eventually(5*time.Minute, "the changes", func() bool { return s.completeThrough(conn, objects, changed) }, running...)
	var n int
	var p50, p95 float64
	if err := conn.QueryRow(context.Background(), latencyQuery("hubspot", objects), began).Scan(&n, &p50, &p95); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(100*perDay/250_000, "%-of-250k-a-day-idle")
	b.ReportMetric(20, "%-limit")
	b.ReportMetric(float64(n), "rows-changed")
	b.ReportMetric(p50, "s-p50")
	b.ReportMetric(p95, "s-p95")
	b.ReportMetric(15, "s-p95-limit")
	for _, p := range running {
		p.stop(b)
	}
}
