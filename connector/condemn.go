package connector

import (
	"context"
	"fmt"

	"github.com/hubtail/hubtail/schemas"
)

// sentence drops the ends of records that were merged into one that was erased for privacy, and has these erased, too: they
// are the same person, and the erasure came before anybody knew. Where a merge is in the log before that, the eraser finds it.
func (l *objectLog) sentence(ctx context.Context, d *draft, leader bool) error {
	if l.condemn == nil {
		return nil
	}
	var ends []*entry
	for _, e := range d.entries {
		// The guard of a winner in the same batch says that it was not erased.
		if e.ending != nil && e.ending.Op == schemas.OpMerged && e.verdict == changed && !e.behind {
			ends = append(ends, e)
		}
	}
	for hop := 0; len(ends) > 0 && hop < maxHops; hop++ {
		winners := make(map[string]*entry)
		var wanted []*entry
		for _, e := range ends {
			if id := e.ending.MergedInto; winners[id] == nil {
				winners[id] = &entry{subject: l.subjectOf(id)}
				wanted = append(wanted, winners[id])
			}
		}
		if err := l.lookup(ctx, wanted, leader); err != nil {
			return err
		}
		var next []*entry
		var condemned []string
		for _, e := range ends {
			winner := winners[e.ending.MergedInto]
			switch winner.last.op() {
			case schemas.OpPurged:
				if condemned = append(condemned, e.id()); !e.done {
					e.verdict = unchanged
				}
			case schemas.OpMerged: // into a record that has it all now
				if into := winner.last.event().MergedInto; !e.done && into != "" && into != e.id() {
					e.ending.MergedInto = into
					next = append(next, e)
				}
			}
		}
		if len(condemned) > 0 {
			if err := l.condemn(ctx, condemned); err != nil {
				return fmt.Errorf("have %d records erased that were merged into erased ones: %w", len(condemned), err)
			}
		}
		ends = next
	}
	return nil
}

// maxHops bounds how many merges one after the other are followed in the log.
const maxHops = 20

// condemn stores the intent to erase records: the eraser takes it, now or after a crash.
func (f *follower) condemn(ctx context.Context, ids []string) error {
	all := make([]*schemas.Hint, len(ids))
	for i, id := range ids {
		all[i] = &schemas.Hint{
			Kind: schemas.HintPurge, Portal: f.source.portal, Object: f.object.Name, ID: id, OccurredAt: f.client.Now(), Cause: "hubtail.merged",
		}
	}
	return f.source.hints.publish(ctx, all...)
}
