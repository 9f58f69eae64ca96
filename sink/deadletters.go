package sink

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// DeadLetter is a row of dead_letters: a message that could not become a row, or a record that the source could not read.
type DeadLetter struct {
	Stream    string    `json:"stream"`
	Seq       int64     `json:"seq"`    // of the message in the log
	Origin    string    `json:"origin"` // "sink" or "source"
	Subject   string    `json:"subject"`
	Object    string    `json:"object,omitempty"`
	ID        string    `json:"id,omitempty"` // "unknown-..." if the source could not read it
	SQLState  string    `json:"sqlstate,omitempty"`
	Reason    string    `json:"reason"`
	Tries     int       `json:"tries"`
	FirstAt   time.Time `json:"first_at"`
	LastAt    time.Time `json:"last_at"`
	Bytes     int64     `json:"bytes"`               // of the payload that is kept
	Truncated bool      `json:"truncated,omitempty"` // the log has the whole

	Headers map[string][]string `json:"headers,omitempty"` // these two only if asked for
	Payload DeadPayload         `json:"payload,omitempty"`
}

// DeadPayload is a message's body: text in JSON if it is text, else base64.
type DeadPayload []byte

// MarshalJSON implements json.Marshaler.
func (p DeadPayload) MarshalJSON() ([]byte, error) {
	if utf8.Valid(p) {
		return json.Marshal(string(p))
	}
	return json.Marshal([]byte(p))
}

// DeadLetters selects dead letters: those that fit all that is given. The zero value selects all.
type DeadLetters struct {
	Stream string
	Object string
	Seqs   []int64
}

func (d DeadLetters) where() (string, []any) {
	return ` where ($1 = '' or stream = $1) and ($2 = '' or object = $2) and ($3::bigint[] is null or seq = any($3))`, []any{d.Stream, d.Object, d.Seqs}
}

// ListDeadLetters returns dead letters in the order of the log, whole: with headers and payload.
func ListDeadLetters(ctx context.Context, pool *pgxpool.Pool, schema string, selected DeadLetters, whole bool) ([]DeadLetter, error) {
	body := `null::jsonb, null::bytea`
	if whole {
		body = `headers, payload`
	}
	where, args := selected.where()
	rows, err := pool.Query(ctx, `select stream, seq, origin, subject, coalesce(object, ''), coalesce(record_id, ''), coalesce(sqlstate, ''), reason, tries,
		first_at, last_at, coalesce(length(payload), 0), truncated, `+body+` from `+quote(schema, "dead_letters")+where+` order by stream, seq`, args...)
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	letters, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l DeadLetter, err error) {
		var headers, payload []byte
		err = row.Scan(&l.Stream, &l.Seq, &l.Origin, &l.Subject, &l.Object, &l.ID, &l.SQLState, &l.Reason, &l.Tries,
			&l.FirstAt, &l.LastAt, &l.Bytes, &l.Truncated, &headers, &payload)
		if err == nil && headers != nil {
			err = json.Unmarshal(headers, &l.Headers)
		}
		l.Payload = payload
		return l, err
	})
	if err != nil {
		return nil, fmt.Errorf("read dead letters: %w", err)
	}
	return letters, nil
}

// DropDeadLetters removes dead letters and returns how many. Their messages stay in the log as long as it keeps them.
func DropDeadLetters(ctx context.Context, pool *pgxpool.Pool, schema string, selected DeadLetters) (int64, error) {
	where, args := selected.where()
	tag, err := pool.Exec(ctx, `delete from `+quote(schema, "dead_letters")+where, args...)
	if err != nil {
		return 0, fmt.Errorf("drop dead letters: %w", err)
	}
	return tag.RowsAffected(), nil
}
