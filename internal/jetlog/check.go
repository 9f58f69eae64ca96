package jetlog

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Check returns an error that wraps ErrDangerousStream and lists everything in
// have that would break what the log of want promises.
func Check(have, want jetstream.StreamConfig) error {
	var reasons []string
	add := func(bad bool, format string, args ...any) {
		if bad {
			reasons = append(reasons, fmt.Sprintf(format, args...))
		}
	}
	edit := "nats stream edit " + have.Name
	recreate := "this cannot be changed later: use another stream with --stream, or delete it (nats stream rm " + have.Name + ") and backfill again"

	add(have.Storage != want.Storage, "it is kept in memory and gone with the server; %s", recreate)
	add(have.PersistMode == jetstream.AsyncPersistMode, "persist mode async acknowledges what is not written yet; %s", recreate)
	add(have.NoAck, "it does not acknowledge, so nobody knows what is stored; %s --ack", edit)
	add(have.Retention != want.Retention, "retention %q deletes events once consumers have read them; %s", have.Retention, recreate)
	add(have.Sealed, "it is sealed; %s", recreate)
	add(have.DenyPurge && !want.DenyPurge, "purge is denied, so a privacy deletion could not be carried out; %s", recreate)
	add(have.Mirror != nil, "it is a mirror and takes no events; point --stream at the original")
	add(len(have.Sources) > 0, "it copies from other streams, which breaks the order of the log; remove its sources")
	add(have.SubjectTransform != nil, "it renames subjects; remove the subject transform")
	add(have.AllowMsgCounter, "it is a counter stream; %s", recreate)
	add(!sameSubjects(have.Subjects, want.Subjects), "its subjects are %s, not %s; %s --subjects '%s'",
		strings.Join(have.Subjects, ", "), strings.Join(want.Subjects, ", "), edit, strings.Join(want.Subjects, ","))

	// A limit that discards old events takes records out of the log, and a
	// rebuild from it would be missing them. Discarding new ones is a full disk.
	old := have.Discard == jetstream.DiscardOld
	add(have.MaxAge > 0, "it drops records unchanged for %s; %s --max-age 0", have.MaxAge, edit)
	add(old && have.MaxMsgs > 0, "it drops the oldest records above %d messages; %s --max-msgs -1", have.MaxMsgs, edit)
	add(old && have.MaxBytes > 0, "it drops the oldest records above %d bytes; %s --max-bytes -1 (or --discard new)", have.MaxBytes, edit)
	add(have.DiscardNewPerSubject, "it refuses new events of a record once its history is full; %s --no-discard-per-subject", edit)

	if len(reasons) == 0 {
		return nil
	}
	return fmt.Errorf("%w: stream %s:\n  - %s", ErrDangerousStream, have.Name, strings.Join(reasons, "\n  - "))
}

func sameSubjects(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}

// isTransport reports errors of the way to the server, not of its answer.
func isTransport(err error) bool {
	return errors.Is(err, nats.ErrTimeout) || errors.Is(err, nats.ErrNoResponders) ||
		errors.Is(err, nats.ErrReconnectBufExceeded) || errors.Is(err, nats.ErrConnectionReconnecting)
}
