package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// family returns the records that were merged into one, directly or by way of others, whoever says so: its last event, HubSpot
// while it still answers, or the last events of the merged ones. The nearest come first. HubSpot rule: the record that a merge
// leaves does not always list all at once, and the end of one that was merged away can be in the log before that.
func (e *eraser) family(ctx context.Context, object hubspot.Object, id string, merges *mergeIndex) ([]string, error) {
	members := []string{id}
	for i := 0; i < len(members); i++ {
		last, err := e.last(ctx, e.subject(object, members[i]))
		if err != nil {
			return nil, err
		}
		var others []string
		if event := last.event(); event != nil {
			others = absorbedBy(event.Properties)
		}
		if i == 0 {
			others = append(others, e.listed(ctx, object, id)...)
		}
		for _, other := range append(others, merges.into(members[i])...) {
			if !slices.Contains(members, other) {
				members = append(members, other)
			}
		}
	}
	return members[1:], nil
}

// listedTimeout bounds how long HubSpot is asked. By then it may have the record no longer, and most often has.
const listedTimeout = 10 * time.Second

// listed returns what HubSpot says that the record has absorbed, nothing if it does not answer.
func (e *eraser) listed(ctx context.Context, object hubspot.Object, id string) (ids []string) {
	if e.read == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, listedTimeout)
	defer cancel()
	batch, err := e.read(ctx, object, id)
	if err != nil {
		e.logger.Warn("HubSpot does not say what a record to be erased has absorbed, going by the log", "object", object.Name, "id", id, "err", err)
		return nil
	}
	for _, r := range batch.Records {
		if r.ID == id {
			ids = append(ids, absorbedBy(r.Properties)...)
		}
	}
	return ids
}

// mergeIndex knows what records of an object type were merged into, according to their last events in the log. It takes a
// walk over the headers of all, some seconds for a million, and then only what came since.
type mergeIndex struct {
	log     *objectLog
	after   uint64            // sequence of the last event that is in it
	winners map[string]string // by loser
}

func (e *eraser) merges(object hubspot.Object) *mergeIndex {
	return &mergeIndex{
		log:     &objectLog{js: e.js, stream: e.stream, portal: e.portal, object: object, logger: e.logger},
		winners: make(map[string]string),
	}
}

// refresh takes in what came into the log.
func (m *mergeIndex) refresh(ctx context.Context) error {
	walk := m.log.walk(m.after, m.after == 0)
	defer walk.close(ctx)
	for more := true; more; {
		var events []walked
		err := m.log.persist(ctx, "walk over the log", func(context.Context) (err error) {
			events, more, err = walk.take(ctx)
			if errors.Is(err, errWalkBroken) {
				events, more, err = nil, true, nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if err := m.add(ctx, newestOf(events)); err != nil {
			return err
		}
	}
	m.after = max(m.after, walk.after)
	return nil
}

func (m *mergeIndex) add(ctx context.Context, events []walked) error {
	var merged []*entry
	for _, w := range events {
		delete(m.winners, w.id)
		if w.op == schemas.OpMerged {
			merged = append(merged, &entry{record: hubspot.Record{ID: w.id}, subject: m.log.subjectOf(w.id)})
		}
	}
	if err := m.log.lookup(ctx, merged, false); err != nil {
		return err
	}
	for _, e := range merged {
		if event := e.last.event(); event != nil && event.MergedInto != "" {
			m.winners[e.record.ID] = event.MergedInto
		}
	}
	return nil
}

// into returns the ids that were merged into one.
func (m *mergeIndex) into(winner string) (losers []string) {
	for loser, w := range m.winners {
		if w == winner {
			losers = append(losers, loser)
		}
	}
	slices.Sort(losers)
	return losers
}

// eraseFamily erases the records that were merged into one that is erased, with intents of their own: all of these are stored
// before the first is touched, for what is erased no longer says who belongs to it.
func (e *eraser) eraseFamily(ctx context.Context, object hubspot.Object, ids []string, mark func(id string)) error {
	subjects := make([]string, len(ids))
	for i, id := range ids {
		hint := schemas.Hint{Kind: schemas.HintPurge, Portal: e.portal, Object: object.Name, ID: id, OccurredAt: e.now(), Cause: "hubtail.merged"}
		m, err := hint.Encode()
		if err != nil {
			return err
		}
		if _, err := e.js.PublishMsg(ctx, newMsg(m)); err != nil {
			return fmt.Errorf("store the intent to erase %s: %w", id, err)
		}
		if err := e.step("intent stored"); err != nil {
			return err
		}
		subjects[i] = m.Subject
	}
	for i, id := range slices.Backward(ids) {
		if mark != nil {
			mark(id)
		}
		if err := e.eraseOne(ctx, object, id); err != nil {
			return fmt.Errorf("erase what was merged into it, %s: %w", id, err)
		}
		if err := e.scrub(ctx, e.hints, subjects[i], 0); err != nil {
			return err
		}
	}
	return nil
}
