package sink

import (
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/hubtail/hubtail/schemas"
)

// deadLetter is a message that could not become a row.
type deadLetter struct {
	seq                                uint64
	origin                             string // "source" or "sink"
	subject, object, id, state, reason string
	headers, payload                   []byte
	truncated                          bool
}

// maxPayload bounds the copy of a message in dead_letters. The log's own limit for a message is 8 MB.
const maxPayload = 1 << 20

func deadLetterOf(m Message, reason error) deadLetter {
	d := deadLetter{seq: m.Seq, origin: "sink", subject: clean(m.Subject), reason: clean(reason.Error())}
	if subject, err := schemas.ParseSubject(m.Subject); err == nil {
		d.object, d.id = clean(subject.Object), clean(subject.ID)
	}
	var pgErr *pgconn.PgError
	if errors.As(reason, &pgErr) {
		// The detail has values of the row in it; the payload beside it has them anyway, logs should not.
		d.state, d.reason = pgErr.Code, clean(pgErr.Message)
	}
	d.keep(m)
	return d
}

// deadLetterFromSource is one that the source met: a record of HubSpot that is no valid record.
func deadLetterFromSource(m Message, c *schemas.DeadLetter) deadLetter {
	d := deadLetter{
		seq: m.Seq, origin: "source", subject: clean(m.Subject),
		object: clean(c.Object), id: clean(c.ID), reason: clean(c.Reason),
	}
	d.keep(m)
	return d
}

func (d *deadLetter) keep(m Message) {
	headers := make(map[string][]string, len(m.Header))
	for name, values := range m.Header {
		for _, v := range values {
			headers[clean(name)] = append(headers[clean(name)], clean(v))
		}
	}
	d.headers, _ = json.Marshal(headers) // strings always marshal
	d.payload = m.Data
	if len(d.payload) > maxPayload {
		d.payload, d.truncated = d.payload[:maxPayload], true
	}
}

// queue adds the row; a message met again, or tried again, counts as one more try. Of a record that was deleted for privacy
// there is none but that of the deletion itself, if the database refuses it.
func (d *deadLetter) queue(batch *pgconn.Batch, schema, stream string) {
	p := &params{}
	p.text(stream).int8(int64(d.seq)).text(d.origin).text(d.subject).textOrNull(d.object).textOrNull(d.id)
	p.textOrNull(d.state).text(d.reason).json(d.headers).add(oidBytea, append([]byte{}, d.payload...)).bool(d.truncated)
	p.queue(batch, `insert into `+quote(schema, "dead_letters")+` as d
(stream, seq, origin, subject, object, record_id, sqlstate, reason, headers, payload, truncated)
select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11
where $3 = 'sink' and coalesce($9::jsonb->'ce-type'->>0 like '%.purged', false) or not exists (select from `+quote(schema, "erased")+` e where e.object = $5
and (e.record_id::text = $6 or $6 like 'unknown%' and position(convert_to(e.record_id::text, 'UTF8') in $10) > 0))
on conflict (stream, seq) do update
set tries = d.tries + 1, last_at = now(), sqlstate = excluded.sqlstate, reason = excluded.reason`)
}
