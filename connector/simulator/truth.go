package simulator

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// TruthRecord is one record as the primary store has it.
type TruthRecord struct {
	ID string
	// Properties holds every value that is not empty. A lone surrogate, which no Go string can hold, is in its three-byte
	// form; the JSON of /_control/truth has it as an escape.
	Properties           map[string]string
	CreatedAt, UpdatedAt time.Time
	ArchivedAt           time.Time // zero = not archived
	Archived             bool
	MergedInto           string // id of the record that has this one now, through all merges, as reads show it; "" = none
	Purged               bool   // deleted for privacy, itself or what it was merged into: no properties
}

// TruthCount is how many records an object type has, by state.
type TruthCount struct {
	Object   string `json:"object"`
	Live     int    `json:"live"`
	Archived int    `json:"archived"`
	Gone     int    `json:"gone"` // merged away or purged
}

// snapshot is the state of an object type at one moment.
type snapshot struct {
	table *table
	plan  []*property
	rows  []truthRow
}

// truthRow is a record of a snapshot; a record that never changed is computed again when it is shown.
type truthRow struct {
	id      int64
	changed *record // nil = as in the base data
}

func (s *snapshot) load(i int) *record {
	if r := s.rows[i].changed; r != nil {
		return r
	}
	r, _ := s.table.base(s.rows[i].id)
	return &r
}

// final follows merges to the record that has absorbed all others on the way.
func (s *snapshot) final(id int64) int64 {
	for {
		i, ok := slices.BinarySearchFunc(s.rows, id, func(r truthRow, id int64) int { return cmp.Compare(r.id, id) })
		if !ok || s.rows[i].changed == nil || s.rows[i].changed.mergedInto == 0 {
			return id
		}
		id = s.rows[i].changed.mergedInto
	}
}

func (s *snapshot) purged(id int64) bool {
	i, ok := slices.BinarySearchFunc(s.rows, id, func(r truthRow, id int64) int { return cmp.Compare(r.id, id) })
	return ok && s.rows[i].changed != nil && s.rows[i].changed.purged
}

// snapshot takes the newest versions of all records, ascending by id, at one moment. Versions never change, so it costs
// a copy of what is small about them.
func (p *portal) snapshot(object string) (*snapshot, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	t, ok := p.table(object)
	if !ok {
		return nil, false
	}
	s := &snapshot{table: t, plan: t.definitions.all(p.opts.SensitiveScope), rows: make([]truthRow, 0, t.live.n+t.archived.n+t.gone.n)}
	sets := [][]entry{t.live.slice(nil, 0, t.live.n), t.archived.slice(nil, 0, t.archived.n), t.gone.slice(nil, 0, t.gone.n)}
	for {
		best := -1
		for i, set := range sets {
			if len(set) > 0 && (best < 0 || set[0].id < sets[best][0].id) {
				best = i
			}
		}
		if best < 0 {
			return s, true
		}
		id := sets[best][0].id
		s.rows = append(s.rows, truthRow{id, t.changed[id]})
		sets[best] = sets[best][1:]
	}
}

// Truth returns all records of an object type as they are at the moment of the call, ascending by id: archived, merged
// away and purged ones too.
func (s *Simulator) Truth(object string) iter.Seq[TruthRecord] {
	return func(yield func(TruthRecord) bool) {
		snap, ok := s.portal.snapshot(object)
		if !ok {
			return
		}
		for i := range snap.rows {
			if !yield(snap.record(snap.load(i))) {
				return
			}
		}
	}
}

func (s *snapshot) record(r *record) TruthRecord {
	t := TruthRecord{
		ID: formatID(r.id), CreatedAt: time.UnixMilli(r.created).UTC(), UpdatedAt: time.UnixMilli(r.modified).UTC(),
		Archived: r.archivedAt != 0, Purged: r.purged, Properties: map[string]string{},
	}
	if r.archivedAt != 0 {
		t.ArchivedAt = time.UnixMilli(r.archivedAt).UTC()
	}
	if r.mergedInto != 0 {
		final := s.final(r.mergedInto)
		t.MergedInto, t.Purged = formatID(final), s.purged(final)
	}
	if t.Purged {
		t.MergedInto = ""
		return t
	}
	subject := s.table.subject(r)
	var buf []byte
	for _, p := range s.plan {
		value, ok := s.table.appendValue(buf[:0], r, &subject, p)
		if buf = value; ok {
			t.Properties[p.Name] = string(value)
		}
	}
	return t
}

// appendTruth appends a record as a line of /_control/truth/{object}.
func (s *snapshot) appendTruth(dst []byte, r *record) []byte {
	dst = append(appendInt(append(dst, `{"id":"`...), r.id), `","properties":{`...)
	n := len(dst)
	subject := s.table.subject(r)
	var buf []byte
	final := int64(0)
	if r.mergedInto != 0 {
		final = s.final(r.mergedInto)
	}
	purged := r.purged || s.purged(final)
	for _, p := range s.plan {
		if purged {
			break
		}
		value, ok := s.table.appendValue(buf[:0], r, &subject, p)
		if buf = value; !ok {
			continue
		}
		if len(dst) > n {
			dst = append(dst, ',')
		}
		dst = appendJSONString(append(dst, p.key...), string(value))
	}
	dst = appendTime(append(dst, `},"createdAt":"`...), r.created)
	dst = appendTime(append(dst, `","updatedAt":"`...), r.modified)
	dst = appendBool(append(dst, `","archived":`...), r.archivedAt != 0)
	if r.archivedAt != 0 {
		dst = append(appendTime(append(dst, `,"archivedAt":"`...), r.archivedAt), '"')
	}
	if final != 0 && !purged {
		dst = append(appendInt(append(dst, `,"mergedInto":"`...), final), '"')
	}
	if purged {
		dst = append(dst, `,"purged":true`...)
	}
	return append(dst, "}\n"...)
}

// TruthCounts returns how many records there are, of every object type that has any.
func (s *Simulator) TruthCounts() []TruthCount {
	s.portal.mu.RLock()
	defer s.portal.mu.RUnlock()
	list := []TruthCount{}
	for _, t := range s.portal.tables {
		if t.live.n+t.archived.n+t.gone.n > 0 {
			list = append(list, TruthCount{Object: t.object.Name, Live: t.live.n, Archived: t.archived.n, Gone: t.gone.n})
		}
	}
	return list
}
