package connector

import (
	"context"
	"errors"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// errLeftOut says that an object type which nobody named is not there for this token.
var errLeftOut = errors.New("left out")

// leaveOut reports whether an error means that the object type is to be left out: it was not named, but comes with all, and
// the token may not read it, or the portal has no such type. It is told once. (One that is in the log is missed: then it is
// an error like any other.)
func (w *worker) leaveOut(ctx context.Context, err error) bool {
	if !w.optional || ctx.Err() != nil || !w.log.Cursor().At.IsZero() || !errors.Is(err, hubspot.ErrForbidden) && !errors.Is(err, hubspot.ErrNotFound) {
		return false
	}
	w.status.fail(PhaseForbidden, err)
	if cause := causeOf(err); w.failure != cause {
		w.failure = cause
		w.logger.Warn("object type left out", "err", err)
	}
	return true
}
