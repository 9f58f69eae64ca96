package connector

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// linkHints are hints about the links of records of one type, on their way to the goroutine that reads links.
type linkHints struct {
	t     *linkType
	hints []*schemas.Hint
	done  chan error // gets the outcome; buffered
}

const (
	// hintLinger is how long a hint is waited for others: HubSpot sends one for each side, and for each of many.
	hintLinger = 200 * time.Millisecond
	// hintPatience is the same while more links changed lately than the daily quota allows to read one by one.
	hintPatience = 5 * time.Second
)

// followHints takes the hints about links of every type, until stop, which waits.
func (r *linkReader) followHints(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	var takers sync.WaitGroup
	for _, t := range r.types {
		work := hintWork{
			kind: schemas.HintLinks, object: t.object.Name, most: maxInputs,
			linger: func(int) time.Duration {
				if r.short.Load() {
					return hintPatience
				}
				return hintLinger
			},
			do: func(ctx context.Context, batch []*schemas.Hint) error { return r.submit(ctx, t, batch) },
		}
		takers.Go(func() {
			for ctx.Err() == nil {
				// What failed is handed out again: the links of a type may not be readable yet.
				if err := r.source.hints.consume(ctx, work); err != nil && !errors.Is(err, errLinksNotReady) {
					t.logger.Debug("hints about links not worked off, trying on", "err", err)
				}
				_ = pause(ctx, retryFirst/2, retryFirst)
			}
		})
	}
	return func() {
		cancel()
		takers.Wait()
	}
}

// errLinksNotReady says that a type is being read whole, or another source leads.
var errLinksNotReady = errors.New("links of this type cannot be read yet")

// submit hands hints to the goroutine that reads, and waits for the outcome. Where no links are read they are forgotten.
func (r *linkReader) submit(ctx context.Context, t *linkType, batch []*schemas.Hint) error {
	if r.choice.none {
		return nil
	}
	h := &linkHints{t: t, hints: batch, done: make(chan error, 1)}
	select {
	case r.hinted <- h:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-h.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// answerHints reads what hints are about and says what came of it.
func (r *linkReader) answerHints(ctx context.Context, h *linkHints) {
	t := h.t
	if r.discovered && len(t.pairs) == 0 { // nothing to link to; should a pair appear, all records are read for it
		h.done <- nil
		return
	}
	if !r.discovered || t.needsBackfill() || t.log.Cursor().Links == nil || t.log.standsBy(ctx) {
		h.done <- errLinksNotReady
		return
	}
	r.cost = 0
	err := r.readHinted(ctx, t, h.hints)
	r.ration.saved -= float64(r.cost)
	if errors.Is(err, ErrStandby) {
		t.restart(ctx)
	}
	h.done <- err
}

// readHinted reads the sets that hints name: each once, all of a record's where the other end is not known.
func (r *linkReader) readHinted(ctx context.Context, t *linkType, hints []*schemas.Hint) error {
	client := r.source.cfg.Client.At(hubspot.PriorityWebhook)
	for _, p := range t.open(nil) {
		var records []walked
		seen := make(map[string]bool)
		for _, h := range hints {
			if (h.To == "" || h.To == p.to.object.Name) && !seen[h.ID] {
				seen[h.ID] = true
				records = append(records, walked{id: h.ID})
			}
		}
		if len(records) == 0 {
			continue
		}
		if err := r.readSets(ctx, client, t, records, []*linkPair{p}, true); err != nil {
			return err
		}
	}
	return nil
}
