package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/alerts"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// The conditions that a source and a sink tell of, each of its own: what both could see is one's only.
const (
	alertNATS    = "nats"    // source: the log's server does not answer
	alertBreaker = "breaker" // source: HubSpot keeps failing
	alertFailed  = "failed"  // source: object types cannot be read, or their last run failed
	alertStale   = "stale"   // source: the log's watermark is old
	alertQuota   = "quota"   // source: the day's requests are nearly spent
	alertStopped = "stopped" // source: it ended by itself

	alertWaits  = "waits"        // sink: it waits because of an error
	alertLag    = "lag"          // sink: the tables are behind the log
	alertDead   = "dead-letters" // sink
	alertNobody = "no-source"    // sink: nobody reads HubSpot, and the tables are stale
	alertEnded  = "ended"        // sink: it ended by itself
)

var (
	sourceAlerts = []string{alertNATS, alertBreaker, alertFailed, alertStale, alertQuota, alertStopped}
	sinkAlerts   = []string{alertWaits, alertLag, alertDead, alertNobody, alertEnded}
)

// alertLimits are from when on something is told.
type alertLimits struct {
	after time.Duration // how long it must last
	stale time.Duration // age of a watermark
	quota float64       // share of the day's requests
	lag   uint64        // messages
}

// alertKeys names every condition that this process tells of. Sources of a portal share theirs, as do the sinks of a schema.
func (m *monitor) alertKeys() (keys []string) {
	for _, c := range sourceAlerts {
		if m.source != nil {
			keys = append(keys, m.alertKey(c))
		}
	}
	for _, c := range sinkAlerts {
		if m.sink != nil {
			keys = append(keys, m.alertKey(c))
		}
	}
	return keys
}

func (m *monitor) alertKey(condition string) string {
	if slices.Contains(sourceAlerts, condition) {
		return "source." + schemas.EncodeToken(m.source.Portal()) + "." + condition
	}
	return "sink." + schemas.EncodeToken(m.consumer) + "." + schemas.EncodeToken(m.schema) + "." + condition
}

// ended is that this process ends by itself, with an error. It is never among conditions: who runs has not ended.
func (m *monitor) ended(err error) alerts.Condition {
	key, title := alertStopped, "The source stopped"
	switch {
	case m.source == nil:
		key, title = alertEnded, "The sink stopped"
	case m.sink != nil:
		title = "Source and sink stopped"
	}
	return alerts.Condition{Key: m.alertKey(key), Title: title,
		Text: err.Error() + "\nIt ends by itself only where waiting does not help. Whatever starts it again, this is told once; it is over once it goes on."}
}

// conditions returns what is wrong now.
func (m *monitor) conditions(ctx context.Context, limits alertLimits) (all []alerts.Condition) {
	s := m.read(ctx, statusIdleEvery)
	connected := m.nats.Status() == nats.CONNECTED
	if m.source != nil {
		_, leads := m.source.Leader()
		all = append(all, sourceConditions(limits, connected, leads, s, m.source.Status(), m.client.Usage())...)
	}
	if m.sink != nil {
		all = append(all, sinkConditions(limits, connected, m.source != nil, s, m.sink.Stats())...)
	}
	for i := range all {
		all[i].Key = m.alertKey(all[i].Key)
	}
	return all
}

func sourceConditions(limits alertLimits, connected, leads bool, s *status, objects []connector.ObjectStatus, u hubspot.Usage) (all []alerts.Condition) {
	if !connected {
		all = append(all, alerts.Condition{Key: alertNATS, After: limits.after, Title: "NATS does not answer",
			Text: "The source cannot reach the log's server, so nothing is read; it goes on by itself when the server is back. Look at the server and at NATS_URL."})
	}
	if !leads {
		return all // who leads tells
	}
	breaker := u.Breaker != "closed" && u.Breaker != ""
	if breaker {
		all = append(all, alerts.Condition{Key: alertBreaker, After: limits.after, Title: "HubSpot keeps failing", Consequence: !connected,
			Text: "The circuit breaker is " + u.Breaker + ": HubSpot's answers are errors, and it is asked now and then only until they are not. Look at status.hubspot.com."})
	}
	if c := failedCondition(s, objects); c != nil {
		c.Consequence = breaker || !connected
		all = append(all, *c)
	}
	var old, names []string
	for _, o := range objects {
		if o.Phase == connector.PhaseLive && !o.CompleteThrough.IsZero() && time.Since(o.CompleteThrough) > limits.stale {
			names = append(names, o.Object)
			old = append(old, o.Object+" (through "+o.CompleteThrough.UTC().Format(time.DateTime)+" UTC)")
		}
	}
	if len(old) > 0 {
		all = append(all, alerts.Condition{Key: alertStale, Title: "The log is behind HubSpot", Items: names, Consequence: breaker || !connected,
			Text: "Older than " + limits.stale.String() + ": " + strings.Join(old, ", ") + ". Look at the source's log, its status page and its quota."})
	}
	if text := quotaText(limits, u); text != "" {
		all = append(all, alerts.Condition{Key: alertQuota, Title: "HubSpot's daily quota is nearly spent", Text: text})
	}
	return all
}

// failedCondition names the object types that cannot be read and those whose last run failed, nil if there are none.
func failedCondition(s *status, objects []connector.ObjectStatus) *alerts.Condition {
	var failed, names []string
	for _, o := range objects {
		last := slices.IndexFunc(s.Objects, func(l objectStatus) bool {
			return l.Object == o.Object && l.LastRun != nil && l.LastRun.Status == "failed"
		})
		switch {
		case o.Phase == connector.PhaseFailed || o.Phase == connector.PhaseForbidden:
			failed, names = append(failed, o.Object+": "+o.LastError), append(names, o.Object)
		case last >= 0:
			failed, names = append(failed, o.Object+": "+s.Objects[last].LastRun.Error), append(names, o.Object)
		}
	}
	if len(failed) == 0 {
		return nil
	}
	return &alerts.Condition{Key: alertFailed, Title: "A run failed", Items: names, Text: strings.Join(failed, "\n") + "\n`hubtail doctor` checks the token, its scopes and the rest."}
}

// quotaText says that the day's requests are nearly spent, by all apps of the account or of our share; "" if they are not.
func quotaText(limits alertLimits, u hubspot.Usage) string {
	d := u.Daily
	switch {
	case d.Limit > 0 && d.Remaining >= 0 && float64(d.Remaining) < (1-limits.quota)*float64(d.Limit):
		return fmt.Sprintf("%s of the account's %s requests are left today, for all apps. Without any, reading goes on when the day of the account's time zone is over.", thousands(int64(d.Remaining)), thousands(int64(d.Limit)))
	case d.Allowed > 0 && float64(d.Used) > limits.quota*float64(d.Allowed):
		return fmt.Sprintf("%s of the %s requests are used that --quota-share lets this source have today.", thousands(int64(d.Used)), thousands(int64(d.Allowed)))
	}
	return ""
}

func sinkConditions(limits alertLimits, connected, beside bool, s *status, stats sink.Stats) (all []alerts.Condition) {
	if stats.Error != "" {
		all = append(all, alerts.Condition{Key: alertWaits, After: limits.after, Title: "The sink waits", Consequence: !connected,
			Text: stats.Error + "\nNothing is lost; it goes on by itself when that is over."})
	}
	if stats.Lag > limits.lag {
		all = append(all, alerts.Condition{Key: alertLag, After: limits.after, Title: "The tables are behind the log", Consequence: stats.Error != "" || !connected,
			Text: thousands(int64(stats.Lag)) + " messages are not in the tables yet. Look at the sink's status page and at the load of Postgres."})
	}
	if s.Tables != nil && s.Tables.DeadLetters > 0 {
		all = append(all, alerts.Condition{Key: alertDead, Title: "Dead letters",
			Text: thousands(s.Tables.DeadLetters) + " messages could not become rows; all others are in the tables. `hubtail dead-letters` shows why, and applies them again after a repair."})
	}
	if c := nobodyCondition(limits, s); c != nil && connected && !beside && stats.Error == "" {
		all = append(all, *c)
	}
	return all
}

// nobodyCondition is that the tables are stale and no source is there to say so itself.
func nobodyCondition(limits alertLimits, s *status) *alerts.Condition {
	if s.Log == nil || s.Tables == nil || len(s.Leaders) == 0 || slices.ContainsFunc(s.Leaders, func(l portalLeader) bool { return l.Leader != nil }) {
		return nil
	}
	var old []string
	for _, o := range s.Objects {
		if !o.TablesThrough.IsZero() && s.At.Sub(o.TablesThrough) > limits.stale {
			old = append(old, o.Object)
		}
	}
	if len(old) == 0 {
		return nil
	}
	return &alerts.Condition{Key: alertNobody, Title: "Nobody reads HubSpot", After: limits.after,
		Text: "No source runs, and these are older than " + limits.stale.String() + ": " + strings.Join(old, ", ") + ". Start `hubtail source`, or look why it stopped."}
}
