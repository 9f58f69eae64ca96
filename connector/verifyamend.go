package connector

import (
	"context"
	"fmt"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// amend puts what a page brings into the log like Append, but leaves the cursor alone: a repair reads nothing that a
// cursor would account for. So it may run beside whichever source leads. Each record's guard makes it safe: what somebody
// else wrote meanwhile is looked at again and never overwritten by what is older.
func (l *objectLog) amend(ctx context.Context, p page) (schemas.Counts, error) {
	if err := l.acquire(ctx); err != nil {
		return schemas.Counts{}, err
	}
	defer l.release()
	d := l.newDraft(p)
	if err := l.amendDraft(ctx, d); err != nil {
		return schemas.Counts{}, fmt.Errorf("repair %d %s in the log: %w", len(d.entries), l.object.Name, err)
	}
	l.bury(d)
	return d.counts(), nil
}

func (l *objectLog) amendDraft(ctx context.Context, d *draft) error {
	for refusals := 0; ; refusals++ {
		// After a refusal only the leader knows for sure; what arrived without an answer is recognised by its id.
		if err := l.lookup(ctx, d.open(), refusals > 0); err != nil {
			return err
		}
		if err := l.judge(ctx, d); err != nil {
			return err
		}
		refusal, err := l.publishEntries(ctx, l.encode(d))
		switch {
		case err != nil:
			return err
		case refusal == nil:
			return nil
		case refusals == maxRefusals:
			return fmt.Errorf("refused %d times: %w", refusals+1, refusal)
		}
		if err := pause(ctx, 20*time.Millisecond, 200*time.Millisecond); err != nil {
			return err
		}
	}
}

// publishEntries publishes entries in as many batches as they take. A refusal is why it is not known to have published
// all of them; trying again may help.
func (l *objectLog) publishEntries(ctx context.Context, rest []*entry) (refusal, err error) {
	for len(rest) > 0 {
		n := fit(rest, maxBatch)
		if _, err := publishBatch(ctx, l.js, l.timeout, messages(rest[:n])); err != nil {
			if outcomeOf(err) == failed {
				return nil, err
			}
			return err, nil
		}
		for _, e := range rest[:n] {
			e.done = true
		}
		rest = rest[n:]
	}
	return nil, nil
}
