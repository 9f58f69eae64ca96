package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go/jetstream"
)

// tablesPosition is where the tables stand.
type tablesPosition struct {
	Portal       *string
	Created      time.Time // of the stream that they are from
	Seq          int64
	Installation string
}

func (d *doctor) readPosition(ctx context.Context) (p tablesPosition, err error) {
	pool, err := d.pool()
	if err != nil {
		return p, err
	}
	ctx, cancel := bound(ctx)
	defer cancel()
	err = pool.QueryRow(ctx, `select portal, stream_created, greatest(seq, high), (select id::text from `+d.table("installation")+` limit 1)
		from `+d.table("positions")+` where stream = $1 and consumer = $2`, d.stream, d.consumer).Scan(&p.Portal, &p.Created, &p.Seq, &p.Installation)
	return p, err
}

// undefined reports whether there are no hubtail tables, or no position in them.
func undefined(err error) bool {
	var answer *pgconn.PgError
	return errors.Is(err, pgx.ErrNoRows) || errors.As(err, &answer) && (answer.Code == "42P01" || answer.Code == "3F000")
}

// checkPosition compares where the tables stand with the log that they would be filled from.
func checkPosition(ctx context.Context, d *doctor, f *findings) {
	p, err := d.position()
	switch {
	case errors.Is(err, errNotConfigured):
		return
	case undefined(err):
		f.none("no sink has applied stream %s as consumer %s into schema %s yet", d.stream, d.consumer, d.schema)
		return
	case err != nil:
		return // the connection, or a right: said elsewhere
	}
	if p.Portal != nil && d.portalID() != "0" && *p.Portal != d.portalID() {
		f.fail(fmt.Sprintf("the tables are of portal %s, this configuration is of %s", *p.Portal, d.portalID()),
			"the sink refuses to mix two portals", "give each portal its own --schema")
	}
	info, err := d.streamInfo()
	if err != nil {
		f.ok("the tables are at %d of stream %s, which is not to be seen from here", p.Seq, d.stream)
		return
	}
	if uint64(p.Seq) > info.State.LastSeq { // both move while we look: the tables may have got what came since
		ctx, cancel := shortly(ctx)
		defer cancel()
		if now, err := d.readStream(ctx); err == nil {
			info = now
		}
	}
	const rebuild = "stop the sinks, `hubtail rebuild`, start them; or point --stream at the old one"
	switch {
	case !p.Created.IsZero() && !p.Created.Equal(info.Created.Truncate(time.Microsecond)) && p.Created.Sub(info.Created).Abs() > time.Millisecond:
		f.fail(fmt.Sprintf("the tables are from a stream made %s, stream %s was made %s", p.Created.Format(time.RFC3339), d.stream, info.Created.Format(time.RFC3339)),
			"sequences of another stream mean nothing: the sink refuses them", rebuild)
	case uint64(p.Seq) > info.State.LastSeq:
		f.fail(fmt.Sprintf("the tables are at %d, stream %s ends at %d", p.Seq, d.stream, info.State.LastSeq),
			"the stream was restored from an older backup: the sink refuses to go on", rebuild)
	case p.Seq > 0 && uint64(p.Seq)+1 < info.State.FirstSeq:
		f.warn(fmt.Sprintf("the log begins at %d, the tables are at %d", info.State.FirstSeq, p.Seq),
			"what lies between was compacted: the sink goes on from the last values of every record", "start the sink; rows are right afterwards, steps in between are not seen")
	default:
		f.ok("applied through %d of %d", p.Seq, info.State.LastSeq)
	}
}

// checkConsumer looks at the sink's durable consumer: whose it is, how far behind, who reads.
func checkConsumer(ctx context.Context, d *doctor, f *findings) {
	js, err := d.jetStream()
	if err != nil || !d.needsSink() {
		return
	}
	if _, err := d.streamInfo(); err != nil {
		return
	}
	asked, cancel := shortly(ctx)
	defer cancel()
	consumer, err := js.Consumer(asked, d.stream, d.consumer)
	switch {
	case errors.Is(err, jetstream.ErrConsumerNotFound):
		f.none("there is no consumer %s yet: the sink makes it when it starts", d.consumer)
		return
	case err != nil:
		f.fail(jsTrouble(err, "$JS.API.CONSUMER.INFO."+d.stream+"."+d.consumer))
		return
	}
	info := consumer.CachedInfo()
	if p, err := d.position(); err == nil {
		if other := info.Config.Metadata["hubtail-tables"]; other != "" && other != p.Installation {
			f.fail(fmt.Sprintf("consumer %s feeds other tables (%s)", d.consumer, info.Config.Description),
				"with both on it each would get a part of the changes: the sink refuses it", "another --consumer (HUBTAIL_CONSUMER), or delete it: nats consumer rm "+d.stream+" "+d.consumer)
		}
	}
	judgeConsumer(f, info, reads(ctx, consumer))
}

// reads reports whether somebody reads the consumer: a sink has a pull waiting, or what it was given moves on. A sink that is
// busy has none waiting for moments; what a sink that ended left unacknowledged stays.
func reads(ctx context.Context, consumer jetstream.Consumer) bool {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	first := consumer.CachedInfo()
	for info, err := first, error(nil); ; info, err = consumer.Info(ctx) {
		if err == nil && (info.NumWaiting > 0 || info.Delivered.Consumer != first.Delivered.Consumer || info.AckFloor.Consumer != first.AckFloor.Consumer) {
			return true
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
	}
}

// judgeConsumer reads lag and readers. NATS rule: what is not delivered is pending, what is delivered and not acknowledged is
// ack pending; waiting are the pulls of sinks that run.
func judgeConsumer(f *findings, info *jetstream.ConsumerInfo, read bool) {
	behind := thousands(int64(info.NumPending) + int64(info.NumAckPending))
	switch {
	case info.Paused:
		f.fail("consumer "+info.Name+" is paused", "the tables get nothing until then", "nats consumer resume "+info.Stream+" "+info.Name)
	case !read:
		f.warn("no sink reads consumer "+info.Name+"; "+behind+" messages wait", "the tables get nothing new", "start one: `hubtail sink` or `hubtail up` (with `hubtail sync` from cron this is as it should be)")
	case info.NumRedelivered > 0:
		f.warn(fmt.Sprintf("%s messages behind, %d were delivered again", behind, info.NumRedelivered),
			"a sink that ended in between is the harmless reason; one that cannot write the other", "see the sink's log and `hubtail status`")
	default:
		f.ok("a sink reads consumer %s, %s messages behind", info.Name, behind)
	}
}
