package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/internal/statuspage"
)

var pageFlags = []cli.Flag{
	&cli.StringFlag{Name: "admin-hosts", Usage: "further names, comma-separated, under which the admin listener may be asked; on loopback it answers to localhost and 127.0.0.1 only", EnvVars: env("HUBTAIL_ADMIN_HOSTS")},
	staleFlag,
}

// view makes what the status page shows.
func (a *admin) view(ctx context.Context) *statuspage.View {
	v := &statuspage.View{At: time.Now(), Version: "hubtail " + version(), Started: started}
	m := a.monitor.Load()
	if m == nil {
		v.Starting = true
		if what := a.waits.Load(); what != nil && *what != "" {
			v.Problems = []string{*what}
		}
		return v
	}
	s := m.read(ctx, statusEvery)
	v.Roles, v.Problems = m.roles(), slices.Clone(s.Problems)
	if age := v.At.Sub(s.At); age > 2*statusEvery {
		v.Problems = append(v.Problems, fmt.Sprintf("what the log and the tables say is %s old: a look at them is still under way", age.Round(time.Second)))
	}
	m.viewObjects(v, s)
	m.viewLog(v, s)
	m.viewTables(v, s)
	m.viewQuota(v, s)
	m.viewUnknown(v)
	v.Plots = m.plots()
	return v
}

func (m *monitor) roles() string {
	switch {
	case m.source != nil && m.sink != nil:
		return "source and sink"
	case m.source != nil:
		return "source"
	}
	return "sink"
}

// viewObjects joins what the process knows with what the log and the tables say.
func (m *monitor) viewObjects(v *statuspage.View, s *status) {
	m.mu.Lock()
	rates, counted := m.rates, m.counted
	v.Runs = slices.Clone(m.runs)
	m.mu.Unlock()
	var own []connector.ObjectStatus
	if m.source != nil {
		v.Portal = m.source.Portal()
		own = m.source.Status()
	}
	for _, o := range s.Objects {
		if v.Portal == "" {
			v.Portal = o.Portal
		}
		if m.source != nil && o.Portal != "" && o.Portal != v.Portal {
			continue
		}
		object := statuspage.Object{
			Name: o.Object, State: o.state, LogThrough: o.CompleteThrough, TablesThrough: o.TablesThrough,
			Rows: o.Rows, RowsAbout: counted[o.Object].about, DeadLetters: o.DeadLetters, EventsPerS: rates.perSecond(o.Object),
			Bad: o.state == "stale",
		}
		if o.LastRun != nil {
			object.LastRun = &statuspage.Run{Type: o.LastRun.Type, Status: o.LastRun.Status, At: o.LastRun.CompletedAt, Error: o.LastRun.Error}
		}
		if o.BackfillDone > 0 || o.BackfillTotal > 0 {
			object.Backfill = &statuspage.Backfill{Done: o.BackfillDone, Total: o.BackfillTotal}
		}
		if i := slices.IndexFunc(own, func(k connector.ObjectStatus) bool { return k.Object == o.Object }); i >= 0 {
			m.viewOwn(v, &object, own[i])
		}
		v.Objects = append(v.Objects, object)
	}
	for _, o := range own {
		if !slices.ContainsFunc(v.Objects, func(known statuspage.Object) bool { return known.Name == o.Object }) {
			object := statuspage.Object{Name: o.Object, State: string(o.Phase)}
			m.viewOwn(v, &object, o)
			v.Objects = append(v.Objects, object)
		}
	}
}

// viewOwn overwrites what the log says with what this process, which may be ahead of it, knows.
func (m *monitor) viewOwn(v *statuspage.View, object *statuspage.Object, o connector.ObjectStatus) {
	if o.CompleteThrough.After(object.LogThrough) {
		object.LogThrough = o.CompleteThrough
	}
	switch o.Phase {
	case connector.PhaseFailed, connector.PhaseForbidden:
		object.State, object.Bad = string(o.Phase), true
		if o.LastError != "" && (object.LastRun == nil || object.LastRun.Status != "failed") {
			v.Problems = append(v.Problems, o.Object+" is not read: "+o.LastError)
		}
	case connector.PhaseBackfill:
		object.State = "full read"
		object.Backfill = &statuspage.Backfill{Done: o.Done, Total: o.Total, Rate: o.Rate}
	case connector.PhaseLive:
		object.Backfill = nil
	}
}

func (m *monitor) viewLog(v *statuspage.View, s *status) {
	if s.Log == nil {
		return
	}
	v.Log = &statuspage.Log{Stream: s.Log.Stream, Messages: s.Log.Messages, Bytes: s.Log.Bytes}
	for _, l := range s.Leaders {
		switch {
		case l.Portal != v.Portal && v.Portal != "":
		case l.Leader != nil:
			v.Log.Leader = l.Leader.Instance
		case m.source == nil:
			v.Log.Alone = true
		}
	}
	if m.source != nil {
		leader, leads := m.source.Leader()
		v.Log.Leads = leads
		if leader.Instance != "" {
			v.Log.Leader = leader.Instance
		}
	}
}

func (m *monitor) viewTables(v *statuspage.View, s *status) {
	if m.sink == nil {
		return
	}
	stats := m.sink.Stats()
	v.Tables = &statuspage.Tables{Schema: m.schema, Behind: stats.Lag, RowsPerS: &stats.RowsPerSecond, LastCommit: stats.LastCommit, Error: stats.Error, Silent: s.Tables == nil}
	if s.Tables != nil {
		v.Tables.DeadLetters = s.Tables.DeadLetters
		if s.Log != nil { // what was not even told to the sink yet is behind, too
			v.Tables.Behind = max(v.Tables.Behind, s.Log.LastSeq-min(s.Log.LastSeq, max(s.Tables.Position, stats.Position)))
		}
	}
	if stats.Error != "" {
		v.Problems = append(v.Problems, "the sink waits and goes on by itself when this is over: "+stats.Error)
	}
}

// viewQuota shows the client's own figures, or, without one, those of the newest cursor.
func (m *monitor) viewQuota(v *statuspage.View, s *status) {
	if m.client != nil {
		u := m.client.Usage()
		v.Quota = &statuspage.Quota{
			DayLimit: u.Daily.Limit, DayUsed: u.Daily.Used, ResetsAt: u.Daily.ResetsAt,
			Window:   &statuspage.Use{Used: u.Window.Used, Limit: u.Window.Limit, Interval: u.Window.Interval},
			Search:   &statuspage.Use{Used: u.Search.Used, Limit: u.Search.Limit, Interval: u.Search.Interval},
			Requests: u.Sent(), Refused: u.RateLimited, Breaker: u.Breaker,
		}
		if u.Daily.Remaining >= 0 {
			v.Quota.DayLeft = &u.Daily.Remaining
		}
		if u.ParkedUntil.After(v.At) {
			v.Quota.ParkedUntil, v.Quota.ParkedFor = u.ParkedUntil, u.ParkedFor
		}
		return
	}
	if q := s.Quota; q != nil {
		v.Quota = &statuspage.Quota{
			AsOf: newestCursor(s), DayLimit: q.DailyLimit, DayLeft: q.Remaining, DayUsed: q.DailyUsed, Requests: q.Requests, Refused: q.RateLimited, Breaker: q.Breaker,
		}
		if q.ParkedUntil.After(v.At) {
			v.Quota.ParkedUntil, v.Quota.ParkedFor = q.ParkedUntil, q.ParkedFor
		}
	}
}

// newestCursor returns when the source last said how far it is.
func newestCursor(s *status) (at time.Time) {
	for _, o := range s.Objects {
		if o.at.After(at) {
			at = o.at
		}
	}
	return at
}

func (m *monitor) viewUnknown(v *statuspage.View) {
	if m.pool == nil {
		v.Unknown = append(v.Unknown, "The tables: this process has no database. The page of the sink shows rows, dead letters and how far the tables are.")
	}
	if m.client == nil {
		v.Unknown = append(v.Unknown, "What HubSpot is asked now: this process asks it nothing. Quota and breaker are what the source last wrote into the log; its own page shows the 10-second and search quotas.")
	}
}

// plots draws the last hour.
func (m *monitor) plots() []statuspage.Plot {
	plots := []statuspage.Plot{{Title: "HubSpot → log, behind", Unit: "s", Points: m.history.Figure(figureLogLag)}}
	if m.sink != nil {
		plots = append(plots, statuspage.Plot{Title: "log → tables, behind", Unit: "messages", Points: m.history.Figure(figureTablesLag)})
	}
	title := "Events"
	if m.source == nil {
		title = "Messages applied"
	}
	plots = append(plots, statuspage.Plot{Title: title, Unit: "per s", Points: m.history.Figure(figureEvents)})
	if m.client != nil {
		plots = append(plots, statuspage.Plot{Title: "Requests in the burst window", Unit: "", Points: m.history.Figure(figureRequests)})
	}
	return plots
}

// apiStatus answers what `status --json` prints.
func (a *admin) apiStatus(w http.ResponseWriter, r *http.Request) {
	m := a.monitor.Load()
	if m == nil {
		answer(w, http.StatusServiceUnavailable, a.starting()+"\n")
		return
	}
	s := m.read(r.Context(), statusEvery)
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		answer(w, http.StatusInternalServerError, "the status cannot be written as JSON: "+err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(append(text, '\n')) // whoever asked is gone then
}
