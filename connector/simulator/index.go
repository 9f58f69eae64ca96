package simulator

import (
	"container/heap"
	"time"
)

// index is what search sees of an object type: an older state that catches up change by change, each after its own lag.
type index struct {
	byID, byModified, byCreated ordered

	// older holds the indexed version of the records whose newest version is not indexed yet; nil = not in the index.
	older map[int64]*record
}

// indexing is a change on its way into the index.
type indexing struct {
	due   int64 // epoch ms
	table *table
	r     *record
}

// indexQueue is a heap of changes by due time.
type indexQueue []indexing

func (q indexQueue) Len() int           { return len(q) }
func (q indexQueue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q indexQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *indexQueue) Push(x any)        { *q = append(*q, x.(indexing)) }
func (q *indexQueue) Pop() any {
	last := (*q)[len(*q)-1]
	*q = (*q)[:len(*q)-1]
	return last
}

// changed notes that r replaced before. Archived records leave the index at once (unless configured otherwise), other
// changes reach it after a lag.
func (x *index) changed(t *table, r, before *record) {
	lag := t.portal.opts.IndexLag
	if _, pending := x.older[r.id]; !pending {
		if before != nil && before.live() {
			x.older[r.id] = before
		} else {
			x.older[r.id] = nil
		}
	}
	now := t.portal.nowMS()
	if lag.Off || (!r.live() && !lag.Archives) || r.purged {
		x.apply(t, r)
		t.portal.observed(t, r, before, now, now)
		return
	}
	due := now + t.portal.lag().Milliseconds()
	heap.Push(&t.portal.queue, indexing{due, t, r})
	t.portal.observed(t, r, before, now, due)
}

// apply makes r the indexed version, unless a newer one is indexed already.
func (x *index) apply(t *table, r *record) {
	older, pending := x.older[r.id]
	if !pending || (older != nil && older.version >= r.version) {
		return
	}
	newest := t.changed[r.id]
	if !newest.live() && newest.version > r.version && !t.portal.opts.IndexLag.Archives {
		return
	}
	x.move(older, r)
	switch {
	case newest == r:
		delete(x.older, r.id)
	case r.live():
		x.older[r.id] = r
	default:
		x.older[r.id] = nil
	}
}

// move puts a record to its new places in the orders; either version may be one that is not in the index.
func (x *index) move(older, r *record) {
	was, is := older != nil, r.live()
	if was && is && older.created == r.created && older.modified == r.modified {
		return
	}
	if was {
		x.byModified.remove(entry{older.modified, r.id})
	}
	if is {
		x.byModified.add(entry{r.modified, r.id})
	}
	if was && is && older.created == r.created {
		return // as with most changes
	}
	if was {
		x.byID.remove(entry{r.id, r.id})
		x.byCreated.remove(entry{older.created, r.id})
	}
	if is {
		x.byID.add(entry{r.id, r.id})
		x.byCreated.add(entry{r.created, r.id})
	}
}

// indexed returns the version of a record that the index knows.
func (x *index) indexed(t *table, id int64) (record, bool) {
	if r, ok := x.older[id]; ok {
		if r == nil {
			return record{}, false
		}
		return *r, true
	}
	return t.load(id)
}

// lag draws how long a change takes to reach the index.
func (p *portal) lag() time.Duration {
	l := p.opts.IndexLag
	if p.rng.Float64() < l.Tail {
		return l.Max + time.Duration(p.rng.Float64()*p.rng.Float64()*float64(l.TailMax-l.Max))
	}
	return l.Min + time.Duration(p.rng.Float64()*float64(l.Max-l.Min))
}

// SetIndexLag changes how long the index takes for the changes from now on: Min, Max, Tail and TailMax, as in Options.
func (s *Simulator) SetIndexLag(l Lag) {
	l = Options{IndexLag: l}.withDefaults().IndexLag
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	now := &s.portal.opts.IndexLag
	now.Min, now.Max, now.Tail, now.TailMax = l.Min, l.Max, l.Tail, l.TailMax
}

// catchUp applies the changes whose lag is over at now; the caller holds the lock for writing.
func (p *portal) catchUp(now int64) {
	for len(p.queue) > 0 && p.queue[0].due <= now {
		item := heap.Pop(&p.queue).(indexing)
		item.table.index.apply(item.table, item.r)
	}
}
