package sink

import (
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// params are the parameters of one statement in Postgres' binary format, with their types. Statements travel unnamed
// with their types declared, so nothing has to be described or prepared first and no pooler can mix it up.
type params struct {
	values [][]byte
	oids   []uint32
}

var binaryFormat = []int16{1}

// queue adds the statement to a batch, whose statements travel in one round trip.
func (p *params) queue(batch *pgconn.Batch, sql string) {
	batch.ExecParams(sql, p.values, p.oids, binaryFormat, nil)
}

func (p *params) add(oid uint32, value []byte) *params {
	p.values, p.oids = append(p.values, value), append(p.oids, oid)
	return p
}

func (p *params) text(v string) *params { return p.add(oidText, append([]byte{}, v...)) }

// textOrNull adds text, null if it is empty.
func (p *params) textOrNull(v string) *params {
	if v == "" {
		return p.add(oidText, nil)
	}
	return p.text(v)
}

func (p *params) int8(v int64) *params {
	return p.add(oidInt8, binary.BigEndian.AppendUint64(nil, uint64(v)))
}

func (p *params) bool(v bool) *params {
	b := byte(0)
	if v {
		b = 1
	}
	return p.add(oidBool, []byte{b})
}

// time adds a timestamptz, null if it is zero.
func (p *params) time(t time.Time) *params {
	if t.IsZero() {
		return p.add(oidTimestamptz, nil)
	}
	return p.add(oidTimestamptz, binary.BigEndian.AppendUint64(nil, uint64(postgresMicros(t))))
}

// json adds a jsonb, null if it is nil.
func (p *params) json(v []byte) *params {
	if v == nil {
		return p.add(oidJSONB, nil)
	}
	return p.add(oidJSONB, append([]byte{1}, v...))
}

func (p *params) int8s(v []int64) *params {
	b := appendArrayHeader(make([]byte, 0, 20+12*len(v)), oidInt8, len(v))
	for _, n := range v {
		b = appendInt8(b, n)
	}
	return p.add(oidInt8Array, b)
}

func (p *params) texts(v []string) *params {
	b := appendArrayHeader(nil, oidText, len(v))
	for _, s := range v {
		b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
		b = append(b, s...)
	}
	return p.add(oidTextArray, b)
}

// appendInt8 appends an element or a COPY field of eight bytes, null for nullInt.
func appendInt8(b []byte, n int64) []byte {
	if n == nullInt {
		return append(b, 0xff, 0xff, 0xff, 0xff)
	}
	return binary.BigEndian.AppendUint64(append(b, 0, 0, 0, 8), uint64(n))
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 0, 0, 0, 1, 1)
	}
	return append(b, 0, 0, 0, 1, 0)
}

// appendBytes appends an element or a COPY field, null for nil.
func appendBytes(b, v []byte) []byte {
	if v == nil {
		return append(b, 0xff, 0xff, 0xff, 0xff)
	}
	return append(binary.BigEndian.AppendUint32(b, uint32(len(v))), v...)
}

// appendArrayHeader begins an array of one dimension.
func appendArrayHeader(b []byte, oid uint32, n int) []byte {
	if n == 0 {
		b = append(b, 0, 0, 0, 0, 0, 0, 0, 0)
		return binary.BigEndian.AppendUint32(b, oid)
	}
	b = append(b, 0, 0, 0, 1, 0, 0, 0, 1)
	b = binary.BigEndian.AppendUint32(b, oid)
	b = binary.BigEndian.AppendUint32(b, uint32(n))
	return append(b, 0, 0, 0, 1)
}
