package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/internal/jetlog"
)

// checkStream looks for the log.
func checkStream(_ context.Context, d *doctor, f *findings) {
	info, err := d.streamInfo()
	switch {
	case err == nil:
		f.ok("%s: %s messages, %s, made %s", info.Config.Name, thousands(int64(info.State.Msgs)), bytesText(info.State.Bytes), info.Created.Format(time.DateOnly))
	case errors.Is(err, jetstream.ErrStreamNotFound):
		f.none("there is no stream %s yet: the first `hubtail source`, `up`, `backfill` or `sync` makes it", d.stream)
	default:
		if _, natsErr := d.nats(); natsErr == nil && !isJetStreamOff(err) {
			f.fail(jsTrouble(err, "$JS.API.STREAM.INFO."+d.stream))
		}
	}
}

// isJetStreamOff tells what checkJetStream reports.
func isJetStreamOff(err error) bool {
	return errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)
}

// checkStreamSettings compares the stream's configuration with the one that hubtail gives it.
func checkStreamSettings(_ context.Context, d *doctor, f *findings) {
	info, err := d.streamInfo()
	if err != nil {
		return
	}
	have, want := info.Config, jetlog.StreamConfig(d.stream, d.replicas)
	edit := "nats stream edit " + have.Name
	if err := jetlog.Check(have, want); err != nil {
		lines := strings.Split(err.Error(), "\n  - ")
		for _, reason := range lines[1:] {
			what, fix, _ := strings.Cut(reason, "; ")
			f.fail(what, "the log could lose records, and a rebuild from it would miss them: a source refuses it", fix)
		}
	}
	if !have.AllowAtomicPublish {
		f.warn("AllowAtomicPublish is off", "a page and its cursor are stored as one by it; a source turns it on when it starts", edit+" --allow-batch, or start a source")
	}
	if !have.AllowDirect {
		f.warn("AllowDirect is off", "reads for comparison then queue behind writes; a source turns it on when it starts", edit+" --allow-direct, or start a source")
	}
	if n := have.MaxMsgsPerSubject; n > 0 && n < want.MaxMsgsPerSubject {
		f.warn(fmt.Sprintf("the log keeps %d events per record, not %d", n, want.MaxMsgsPerSubject),
			"history, diff and --as-of reach back less far, and a sink that was away long sees fewer steps; a source raises it when it starts",
			fmt.Sprintf("%s --max-msgs-per-subject %d", edit, want.MaxMsgsPerSubject))
	}
	if have.MaxMsgSize > 0 && have.MaxMsgSize < 1<<20 {
		f.warn(fmt.Sprintf("messages may have %d bytes only", have.MaxMsgSize), "a record with long texts becomes a dead letter", edit+" --max-msg-size -1")
	}
	if have.MaxBytes > 0 {
		judgeSpace(f, "the stream's own limit", info.State.Bytes, uint64(have.MaxBytes), edit+" --max-bytes -1")
	}
	judgeReplicas(f, info, edit)
	if f.healthy() {
		f.ok("as hubtail makes it: %d events per record, %d replicas", have.MaxMsgsPerSubject, have.Replicas)
	}
}

// judgeReplicas compares the replicas with the cluster, and says what a client cannot see.
func judgeReplicas(f *findings, info *jetstream.StreamInfo, edit string) {
	clustered := info.Cluster != nil && info.Cluster.Name != ""
	switch {
	case clustered && info.Config.Replicas == 1:
		f.warn("the stream has one replica in cluster "+info.Cluster.Name, "it stands still with its server, and is lost with its disk", edit+" --replicas 3")
	case clustered:
		for _, peer := range info.Cluster.Replicas {
			if peer.Offline || !peer.Current {
				f.warn(fmt.Sprintf("replica on %s is not current (%d messages behind, seen %s ago)", peer.Name, peer.Lag, peer.Active.Round(time.Second)),
					"with another one away the log takes no events", "look at that server: `nats server report jetstream`")
			}
		}
	default:
		f.none("with one replica a power cut can cost what the server has not synced: a client cannot see its sync_interval; " +
			"set jetstream { sync_interval: always } (`hubtail up` and `hubtail nats` do)")
	}
}

// manyRecords is from how many records on one stream is not the best home. DESIGN: above about a million, one per object type.
const manyRecords = 1_000_000

// checkStreamSize looks at how many records the log has.
func checkStreamSize(_ context.Context, d *doctor, f *findings) {
	info, err := d.streamInfo()
	if err != nil {
		return
	}
	judgeRecords(f, info.State.NumSubjects)
}

func judgeRecords(f *findings, subjects uint64) {
	text := thousands(int64(subjects)) + " records and sets of links"
	if subjects > manyRecords {
		f.warn(text+" in one stream", "the server keeps an index of all of them in memory, about 1 GB per million, and reads it at every start",
			"give the NATS server the memory and leave `hubtail up` for separate processes; object types that matter apart can have a NATS account and a source of their own (--objects)")
		return
	}
	f.ok("%s", text)
}

// checkLeader says who reads the portal.
func checkLeader(ctx context.Context, d *doctor, f *findings) {
	ctx, cancel := shortly(ctx)
	defer cancel()
	js, err := d.jetStream()
	if err != nil {
		return
	}
	log, err := d.logStatus()
	if err != nil {
		return // no stream, or no right: said elsewhere
	}
	if len(log.Objects) == 0 {
		f.none("no source has read anything yet")
		return
	}
	portal := log.Objects[0].Portal
	leader, err := connector.ReadLeader(ctx, js, d.stream, portal)
	switch {
	case err != nil:
		f.none("who leads is not known: %v", err)
	case leader == nil:
		f.warn("no source reads portal "+portal+" now", "nothing new arrives", "start one: `hubtail source` or `hubtail up` (with `hubtail sync` from cron this is as it should be)")
	default:
		f.ok("%s reads portal %s (%s)", leader.Instance, portal, leader.Task)
	}
	checkSourceTrouble(f, log)
}

// checkSourceTrouble reports what the source itself says in its newest cursor.
func checkSourceTrouble(f *findings, log connector.LogStatus) {
	newest := log.Objects[0].Cursor
	for _, o := range log.Objects {
		if o.Cursor.At.After(newest.At) {
			newest = o.Cursor
		}
	}
	q := newest.Quota
	if q == nil {
		return
	}
	if q.ParkedUntil.After(time.Now()) {
		f.warn("the source asks HubSpot nothing before "+q.ParkedUntil.Format(time.DateTime), q.ParkedFor, "see hubspot quota above")
	}
	if q.Breaker == "open" {
		f.warn("the source's circuit breaker is open", "HubSpot kept failing", "it closes by itself; see https://status.hubspot.com")
	}
}

// checkNATSClock compares the clock of the server with ours.
func checkNATSClock(ctx context.Context, d *doctor, f *findings) {
	ctx, cancel := shortly(ctx)
	defer cancel()
	if _, err := d.streamInfo(); err != nil {
		return
	}
	js, err := d.jetStream()
	if err != nil {
		return
	}
	asked := time.Now()
	stream, err := js.Stream(ctx, d.stream)
	answered := time.Now()
	if err != nil || stream.CachedInfo().TimeStamp.IsZero() {
		return
	}
	middle := asked.Add(answered.Sub(asked) / 2)
	judgeClock(f, "the NATS server", stream.CachedInfo().TimeStamp.Sub(middle), "leases and expiry follow the server; times in logs do not fit together")
}
