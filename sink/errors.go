package sink

import (
	"context"
	"errors"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// fault says what to do about an error of Postgres.
type fault int

const (
	faultRetry   fault = iota // the same batch again, a little later
	faultConnect              // the connection is gone or Postgres is away: again, as soon as it answers
	faultWait                 // full disk, no memory, read-only: again, but somebody has to act
	faultData                 // one of the rows: isolate it
	faultSchema               // a column or table is not what we think: read the catalogue again
	faultStop                 // login, rights, a bug: stop and say so
)

func (f fault) String() string {
	return [...]string{"retry", "connect", "wait", "data", "schema", "stop"}[f]
}

// faults maps SQLSTATEs, whole or by class, to what to do. Whole codes are looked up first.
var faults = map[string]fault{
	"40001": faultRetry, // serialization failure
	"40P01": faultRetry, // deadlock
	"55P03": faultRetry, // lock timeout
	"57014": faultRetry, // statement timeout
	"55006": faultRetry, // object in use
	"40":    faultRetry,

	"08":    faultConnect,
	"57P01": faultConnect, // admin shutdown
	"57P02": faultConnect, // crash
	"57P03": faultConnect, // starting up
	"57P05": faultConnect, // idle session timeout
	"25P03": faultConnect, // idle in transaction timeout
	"53300": faultConnect, // too many connections
	"26000": faultConnect, // a pooler gave us another server process: the statement is not there
	"42P05": faultConnect, // ... or is there already
	"25P02": faultConnect, // transaction is aborted: nothing of ours, the cause came before

	"25006": faultWait, // read-only: a replica after a failover, or Supabase with its disk full
	"53":    faultWait, // disk full, out of memory
	"58":    faultWait, // I/O error
	"XX":    faultWait, // internal error: poolers use it for their own troubles

	"21": faultData, // one thing twice in a message
	"22": faultData,
	"23": faultData,
	"44": faultData, // a view's check option
	"54": faultData, // row too big, index row too big
	"P0": faultData, // an exception of the owner's trigger

	"42703": faultSchema, // no such column
	"42P01": faultSchema, // no such table
	"42804": faultSchema, // the column has another type
	"3F000": faultStop,   // no such schema
	"42501": faultStop,   // no right
}

// errAdvice is what an operator can do about an error that the sink stops at from the start, and else waits for to be over.
var errAdvice = map[string]string{
	"3F000": "run `hubtail migrate`; if the schema was renamed, rename it back or set --schema",
	"42P01": "a new schema needs `hubtail migrate`; what was renamed can be renamed back; if the table of an object type was dropped, `hubtail verify --repair` makes and fills it again; if another one was, run `hubtail rebuild` or fill a new schema with --schema NAME",
	"42703": "a column that all tables of records have (_extra, _seq, ...) was dropped or renamed by hand: rename it back or add it again, or drop the table and run `hubtail verify --repair`, which makes and fills it again",
	"42501": "the role must own the schema and its tables: run `hubtail migrate --owner <role>` as an administrator, or grant back what was revoked",
	"28P01": "check user and password of the database URL",
	"28000": "check user and password of the database URL",
	"3D000": "create the database, or correct its name in the URL",
}

// classify says what to do about an error from the database or its connection. Errors that do not come from there, ours
// among them, are faultStop.
func classify(err error) fault {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) {
		if f, ok := faults[pgErr.Code]; ok {
			return f
		}
		if len(pgErr.Code) == 5 {
			if f, ok := faults[pgErr.Code[:2]]; ok {
				return f
			}
		}
		if poolerTrouble(pgErr.Message) {
			return faultConnect
		}
		return faultStop
	}
	for _, known := range []error{ErrMoved, ErrOtherPortal, ErrOtherStream, errStale} {
		if errors.Is(err, known) {
			return faultStop
		}
	}
	var connectErr *pgconn.ConnectError
	if errors.As(err, &connectErr) || pgconn.SafeToRetry(err) || pgconn.Timeout(err) || isNetwork(err) || poolerTrouble(err.Error()) {
		return faultConnect
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return faultConnect
	}
	return faultStop
}

// MayPass reports whether an error of Postgres, or of the connection to it, is one that passes: it is away or starts, full,
// read-only or busy. One that takes somebody to change what was asked for is none.
func MayPass(err error) bool {
	f := classify(err)
	return f == faultRetry || f == faultConnect || f == faultWait
}

// poolerTrouble recognises the refusals of Supabase's pooler, which have no SQLSTATE of their own.
func poolerTrouble(message string) bool {
	for _, text := range []string{
		"EMAXCONN", "max clients reached", "ECHECKOUT", "EDBHANDLER", "Internal error (authenticated)",
		"conn closed", "closed pool", "server conn crashed", "query_wait_timeout", "pooler is shut down",
	} {
		if strings.Contains(message, text) {
			return true
		}
	}
	return false
}
