package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/sink"
)

// metricsType is the media type of Prometheus' text format. There is little to it when all figures are snapshots: a client
// library would bring registries that we have no use for.
const metricsType = "text/plain; version=0.0.4; charset=utf-8"

// metricsText writes figures in Prometheus' text format. Names and units are in docs/metrics.md.
type metricsText struct{ strings.Builder }

// family begins a metric: its samples follow.
func (m *metricsText) family(name, kind, help string) {
	fmt.Fprintf(m, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// labelValue escapes as the format wants it.
var labelValue = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// sample writes a value; labels are names and values in turn.
func (m *metricsText) sample(name string, value float64, labels ...string) {
	m.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		open := "{"
		if i > 0 {
			open = ","
		}
		fmt.Fprintf(m, `%s%s="%s"`, open, labels[i], labelValue.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		m.WriteString("}")
	}
	m.WriteString(" " + strconv.FormatFloat(value, 'g', -1, 64) + "\n")
}

func (m *metricsText) gauge(name, help string, value float64) {
	m.family(name, "gauge", help)
	m.sample(name, value)
}

func (m *metricsText) counter(name, help string, value int64) {
	m.family(name, "counter", help)
	m.sample(name, float64(value))
}

// seconds returns a time as Unix seconds, 0 if it is not set.
func seconds(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// started is when the process began, nearly.
var started = time.Now()

func (m *metricsText) process() {
	m.family("hubtail_build_info", "gauge", "Always 1; the version is a label.")
	m.sample("hubtail_build_info", 1, "version", version())
	m.gauge("hubtail_start_time_seconds", "When the process started, Unix time.", seconds(started))
}

func (m *metricsText) parts(w *watched) {
	if w.source != nil {
		_, leads := w.source.Leader()
		m.leads(leads)
		m.objects(w.source.Status())
		m.hubspot(w.client.Usage())
	}
	if w.sink != nil {
		m.sink(w.sink.Stats())
	}
}

func (m *metricsText) leads(leads bool) {
	value := 0.0
	if leads {
		value = 1
	}
	m.gauge("hubtail_source_leads", "1 if this source holds the portal's lease and reads HubSpot, 0 if it stands by.", value)
}

// objects writes a sample per object type.
func (m *metricsText) objects(all []connector.ObjectStatus) {
	each := func(name, kind, help string, value func(connector.ObjectStatus) float64) {
		m.family(name, kind, help)
		for _, o := range all {
			m.sample(name, value(o), "object", o.Object)
		}
	}
	each("hubtail_complete_through_timestamp_seconds", "gauge", "Everything modified before is in the log, Unix time; 0 before the first full read is done.",
		func(o connector.ObjectStatus) float64 { return seconds(o.CompleteThrough) })
	m.family("hubtail_object_phase", "gauge", "1 for the phase an object type is in: waiting, backfill, live, standby, forbidden, failed.")
	for _, o := range all {
		m.sample("hubtail_object_phase", 1, "object", o.Object, "phase", string(o.Phase))
	}
	each("hubtail_records_fetched_total", "counter", "Records that HubSpot answered.", func(o connector.ObjectStatus) float64 { return float64(o.Counts.Fetched) })
	each("hubtail_records_unchanged_total", "counter", "Of these, known already.", func(o connector.ObjectStatus) float64 { return float64(o.Counts.Unchanged) })
	each("hubtail_records_failed_total", "counter", "Of these, malformed or too large: they became dead letters.", func(o connector.ObjectStatus) float64 { return float64(o.Counts.Failed) })
	m.family("hubtail_events_total", "counter", "Events appended to the log, by what they say of a record.")
	for _, o := range all {
		m.sample("hubtail_events_total", float64(o.Counts.Created), "object", o.Object, "change", "created")
		m.sample("hubtail_events_total", float64(o.Counts.Updated), "object", o.Object, "change", "updated")
		m.sample("hubtail_events_total", float64(o.Counts.Deleted), "object", o.Object, "change", "deleted")
	}
	each("hubtail_settle_seconds", "gauge", "How long a change counts as not surely found by search; the watermark trails by it.", func(o connector.ObjectStatus) float64 { return float64(o.SettleMS) / 1000 })
	each("hubtail_late_changes_total", "counter", "Changes that search showed after the watermark had passed them, ever.", func(o connector.ObjectStatus) float64 { return float64(o.Late) })
	each("hubtail_webhook_hints_total", "counter", "Hints of webhooks about records that this source took up.", func(o connector.ObjectStatus) float64 { return float64(o.Hints) })
	each("hubtail_webhook_records_total", "counter", "Records that HubSpot answered when they were read because of them.", func(o connector.ObjectStatus) float64 { return float64(o.Hydrated) })
	each("hubtail_backfill_records_expected", "gauge", "Records of the last full read as search counted them, 0 if unknown.", func(o connector.ObjectStatus) float64 { return float64(o.Total) })
	each("hubtail_backfill_records_done", "gauge", "Of these, read.", func(o connector.ObjectStatus) float64 { return float64(o.Done) })
}

// hubspot writes what the client used of the quotas.
func (m *metricsText) hubspot(u hubspot.Usage) {
	m.family("hubtail_hubspot_requests_total", "counter", "Requests sent to HubSpot, repeated ones included, by kind.")
	for _, kind := range slices.Sorted(maps.Keys(u.Requests)) {
		m.sample("hubtail_hubspot_requests_total", float64(u.Requests[kind]), "kind", kind)
	}
	m.counter("hubtail_hubspot_rate_limited_total", "Answers of 429.", u.RateLimited)
	m.counter("hubtail_hubspot_retries_total", "Requests that repeat one that failed.", u.Retries)
	m.counter("hubtail_hubspot_failures_total", "Calls that ended in an error.", u.Failures)
	m.gauge("hubtail_hubspot_waiting_calls", "Calls that wait for the budget.", float64(u.Waiting))
	m.gauge("hubtail_hubspot_window_used", "Requests of the burst quota's window in use.", float64(u.Window.Used))
	m.gauge("hubtail_hubspot_window_limit", "Requests per window that this source may use.", float64(u.Window.Limit))
	m.gauge("hubtail_hubspot_search_used", "Searches of the search quota's interval in use.", float64(u.Search.Used))
	m.gauge("hubtail_hubspot_search_limit", "Searches per interval that this source may use.", float64(u.Search.Limit))
	m.gauge("hubtail_hubspot_calls_in_flight", "Calls on the wire.", float64(u.InFlight))
	m.gauge("hubtail_hubspot_daily_used", "Requests that this source sent since the account's day began, or since it started.", float64(u.Daily.Used))
	if u.Daily.Limit > 0 {
		m.gauge("hubtail_hubspot_daily_limit", "The account's daily quota.", float64(u.Daily.Limit))
	}
	if u.Daily.Remaining >= 0 {
		m.gauge("hubtail_hubspot_daily_remaining", "What is left of it for all apps.", float64(u.Daily.Remaining))
	}
	m.gauge("hubtail_hubspot_parked_until_timestamp_seconds", "HubSpot is asked nothing before, Unix time; 0 if nothing holds.", seconds(u.ParkedUntil))
	m.family("hubtail_hubspot_breaker_state", "gauge", "1 for the state the circuit breaker is in, 0 for the others.")
	for _, state := range []string{"closed", "half-open", "open"} {
		value := 0.0
		if u.Breaker == state {
			value = 1
		}
		m.sample("hubtail_hubspot_breaker_state", value, "state", state)
	}
}

func (m *metricsText) sink(s sink.Stats) {
	m.gauge("hubtail_sink_lag_messages", "Messages of the log that are not in the tables yet.", float64(s.Lag))
	m.counter("hubtail_sink_messages_total", "Messages applied.", s.Messages)
	m.counter("hubtail_sink_rows_written_total", "Rows inserted or replaced.", s.Written)
	m.counter("hubtail_sink_unchanged_total", "Records that the tables had already, or newer.", s.Unchanged)
	m.counter("hubtail_sink_dead_letters_total", "Messages that could not be applied.", s.DeadLetters)
	m.gauge("hubtail_sink_position", "Stream sequence up to which everything is in the tables.", float64(s.Position))
	m.gauge("hubtail_sink_last_commit_timestamp_seconds", "When rows were committed last, Unix time; 0 if not since the start.", seconds(s.LastCommit))
	m.gauge("hubtail_sink_commit_seconds", "How long the last commit took.", s.CommitTime.Seconds())
	failing := 0.0
	if s.Error != "" {
		failing = 1
	}
	m.gauge("hubtail_sink_failing", "1 while the sink waits because of an error.", failing)
}

// tables writes what the database says; it is up to a minute old.
func (m *metricsText) tables(s *status) {
	m.family("hubtail_tables_complete_through_timestamp_seconds", "gauge", "Everything modified before is in the tables, Unix time; 0 before the first full read is applied.")
	for _, o := range s.Objects {
		if o.DeadLetters != nil {
			m.sample("hubtail_tables_complete_through_timestamp_seconds", seconds(o.TablesThrough), "object", o.Object)
		}
	}
	if s.Tables != nil {
		m.gauge("hubtail_dead_letters", "Messages in the table dead_letters now.", float64(s.Tables.DeadLetters))
	}
}
