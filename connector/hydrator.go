package connector

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

const (
	// hydrateMost is how many records are read at a time. HubSpot rule: a batch read takes 100 ids.
	hydrateMost = 100
	// hydrateParallel is how many batch reads of one object type are under way when there is enough to read: at 250 ms each
	// they bring 1,200 records a second, more than any quota grants.
	hydrateParallel = 3
)

// followHints reads what webhooks say has changed, until ctx ends. It returns an error only if no object type can go on.
// Nothing that fails loses a hint: it is handed out again, for as long as it takes.
func (f *follower) followHints(ctx context.Context) error {
	pace := &hintPace{now: time.Now}
	work := hintWork{
		kind: schemas.HintRecord, object: f.object.Name, most: hydrateMost, parallel: hydrateParallel,
		linger: pace.linger, took: pace.add, do: f.hydrateHints,
	}
	for wait := retryFirst; ; wait = min(2*wait, retryHydrate) {
		if err := f.awaitProperties(ctx); err != nil {
			return nil
		}
		began := time.Now()
		err := f.source.hints.consume(ctx, work)
		if time.Since(began) > retryMost {
			wait = retryFirst
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, hubspot.ErrUnauthorized):
			return fmt.Errorf("read %s that webhooks told of: %w", f.object.Name, err)
		case errors.Is(err, ErrStandby):
			f.source.lease.Doubt()
		case errors.Is(err, hubspot.ErrForbidden): // the polls say so
			_ = pause(ctx, retryForbidden, retryForbidden+retryForbidden/10)
			continue
		default:
			f.logger.Warn("what webhooks told of cannot be read, trying on", "err", err)
		}
		_ = pause(ctx, wait/2, wait)
	}
}

// retryHydrate is the longest wait before hints are tried again. (The client itself waits for HubSpot much longer.)
const retryHydrate = 15 * time.Second

// awaitProperties waits until it is known what to read of a record: reading less would look like values that were cleared.
func (f *follower) awaitProperties(ctx context.Context) error {
	for f.properties() == nil {
		if err := pause(ctx, 50*time.Millisecond, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// hydrateHints reads the records that a batch of hints is about.
func (f *follower) hydrateHints(ctx context.Context, batch []*schemas.Hint) error {
	ids := make([]string, 0, len(batch))
	seen := make(map[string]bool, len(batch))
	for _, h := range batch {
		f.heard.hear(h)
		f.mention(h.Property)
		if seen[h.ID] {
			continue
		}
		seen[h.ID] = true
		if !isRecordID(h.ID) {
			f.logger.Warn("hint dropped: its id is no number", "id", h.ID, "cause", h.Cause)
			continue
		}
		ids = append(ids, h.ID)
	}
	if err := f.hydrateApart(ctx, ids); err != nil {
		return err
	}
	return f.endMerged(ctx, batch)
}

// endMerged ends as merged what webhooks say was merged away, as far as HubSpot itself knows nothing of it any more: so is
// found that it belongs to a record that was erased for privacy, or will be.
func (f *follower) endMerged(ctx context.Context, batch []*schemas.Hint) error {
	p := page{Origin: schemas.OriginWebhook, Primary: true, After: f.log.Position()}
	for _, h := range batch {
		if h.Kind == schemas.HintMerge && isRecordID(h.ID) && isRecordID(h.MergedInto) {
			p.Endings = append(p.Endings, ending{ID: h.ID, Op: schemas.OpMerged, MergedInto: h.MergedInto, At: f.client.Now(), Told: true})
		}
	}
	if len(p.Endings) == 0 {
		return nil
	}
	counts, err := f.log.Append(ctx, p, nil)
	if err == nil {
		f.told.add(counts)
	}
	return err
}

// hydrateApart reads records. If HubSpot says that the request is wrong it reads them in two halves, and so on: one id that
// it does not like must not keep the others back.
func (f *follower) hydrateApart(ctx context.Context, ids []string) error {
	if len(ids) == 0 {
		return nil
	}
	counts, err := f.hydrate(ctx, f.hinted, schemas.OriginWebhook, ids)
	switch {
	case err == nil:
		f.told.add(counts)
		return nil
	case !isBadRequest(err):
		return err
	case len(ids) == 1:
		f.logger.Warn("hint dropped: HubSpot does not accept its id", "id", ids[0], "err", err)
		return nil
	}
	half := len(ids) / 2
	if err := f.hydrateApart(ctx, ids[:half]); err != nil {
		return err
	}
	return f.hydrateApart(ctx, ids[half:])
}

func isBadRequest(err error) bool {
	answer := (*hubspot.Error)(nil)
	return errors.Is(err, hubspot.ErrInvalid) || errors.As(err, &answer) && answer.Status == http.StatusBadRequest
}

// isRecordID reports whether HubSpot can have a record of that id.
func isRecordID(id string) bool {
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
	}
	return id != "" && len(id) <= 19
}

// toldCounts is what another way of reading than polls, such as webhooks, brought since polls last recorded a run; it goes into
// the same one.
type toldCounts struct {
	mu     sync.Mutex // guards the fields below
	counts schemas.Counts
	read   int64 // records, since the source started
}

// readSoFar returns how many records were read since the source started.
func (t *toldCounts) readSoFar() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.read
}

func (t *toldCounts) add(c schemas.Counts) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts = addCounts(t.counts, c)
	t.read += c.Fetched
}

// take returns what came since the last time.
func (t *toldCounts) take() schemas.Counts {
	t.mu.Lock()
	defer t.mu.Unlock()
	counts := t.counts
	t.counts = schemas.Counts{}
	return counts
}
