package connector

import (
	"context"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// position is the last committed cursor and where it is in the log, with what status tells of it.
type position struct {
	mu     sync.Mutex // guards the fields against readers; there is one writer at a time
	cursor schemas.Cursor
	seq    uint64         // of the cursor's message, 0 if there is none
	load   progress       // of the full read
	counts schemas.Counts // of all that this process appended
	news   func()         // called when records came into the log; nil if nobody wants to know. Set before the first append
}

func (p *position) set(c schemas.Cursor, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cursor, p.seq = c, seq
	p.load.see(c.Backfill, time.Now())
}

func (p *position) add(c schemas.Counts) {
	p.mu.Lock()
	p.counts = addCounts(p.counts, c)
	p.mu.Unlock()
	if p.news != nil && newsOf(c) > 0 {
		p.news()
	}
}

func (p *position) snapshot() (schemas.Cursor, progress, schemas.Counts) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return cloneCursor(p.cursor), p.load, p.counts
}

func (p *position) get() schemas.Cursor {
	p.mu.Lock()
	defer p.mu.Unlock()
	return cloneCursor(p.cursor)
}

// Position returns the sequence of the last committed cursor: everything that this source appended before is below it.
func (l *objectLog) Position() uint64 {
	l.head.mu.Lock()
	defer l.head.mu.Unlock()
	return l.head.seq
}

// Cursor returns a copy of the last committed cursor.
func (l *objectLog) Cursor() schemas.Cursor { return l.head.get() }

// Reload reads the cursor from the log, also when it is another source's, and goes on from there: Append works again
// after ErrStandby.
func (l *objectLog) Reload(ctx context.Context) (schemas.Cursor, error) {
	if err := l.acquire(ctx); err != nil {
		return schemas.Cursor{}, err
	}
	defer l.release()
	found, err := l.leaderCursor(ctx)
	if err != nil {
		return schemas.Cursor{}, err
	}
	l.head.set(found.cursor, found.seq)
	l.lost = false
	return l.Cursor(), nil
}

// standsBy reports whether another source leads, as far as we know.
func (l *objectLog) standsBy(ctx context.Context) bool {
	if l.acquire(ctx) != nil {
		return false
	}
	defer l.release()
	return l.lost
}

// Peek reads the cursor from the log as it is now, without taking it over.
func (l *objectLog) Peek(ctx context.Context) (schemas.Cursor, error) {
	found, err := l.leaderCursor(ctx)
	return found.cursor, err
}

// cloneCursor returns a copy that shares nothing with c.
func cloneCursor(c schemas.Cursor) schemas.Cursor {
	if c.Backfill != nil {
		b := *c.Backfill
		b.Ranges = slices.Clone(b.Ranges)
		c.Backfill = &b
	}
	c.Links = c.Links.Clone()
	if c.Settle != nil {
		v := *c.Settle
		v.Epochs = slices.Clone(v.Epochs)
		c.Settle = &v
	}
	c.NewProperties = slices.Clone(c.NewProperties)
	if c.Reread != nil {
		r := *c.Reread
		c.Reread = &r
	}
	if c.ArchivedWalk != nil {
		w := *c.ArchivedWalk
		c.ArchivedWalk = &w
	}
	if c.Verified != nil {
		v := *c.Verified
		c.Verified = &v
	}
	return c
}

// equalCursors reports whether both say the same about what was read; who said so, and when, does not count.
func equalCursors(a, b schemas.Cursor) bool {
	for _, c := range []*schemas.Cursor{&a, &b} {
		c.Portal, c.Object, c.Instance, c.At, c.Quota, c.Settle, c.Webhooks = "", "", "", time.Time{}, nil, nil, nil
		c.BackfilledAt, c.PolledTo, c.CompleteThrough = c.BackfilledAt.UTC(), c.PolledTo.UTC(), c.CompleteThrough.UTC()
	}
	return reflect.DeepEqual(a, b)
}

// addCounts returns the sum of both.
func addCounts(a, b schemas.Counts) schemas.Counts {
	return schemas.Counts{
		Fetched:   a.Fetched + b.Fetched,
		Created:   a.Created + b.Created,
		Updated:   a.Updated + b.Updated,
		Unchanged: a.Unchanged + b.Unchanged,
		Deleted:   a.Deleted + b.Deleted,
		Failed:    a.Failed + b.Failed,
		APICalls:  a.APICalls + b.APICalls,
	}
}
