package simulator

import (
	"cmp"
	"slices"
	"strings"
)

// record is one version of a record. Versions never change: a change makes a new one, so readers, the lagging search
// index and the truth may hold on to them without a lock.
type record struct {
	id                int64
	index             int    // position in the base data, -1 for records made later
	seed              uint64 // of base values; 0 = the record has none, only edits
	created, modified int64  // epoch ms
	archivedAt        int64  // 0 = live
	mergedInto        int64  // 0 = not merged away
	purged            bool
	version           int64  // number of the change that made it, 0 = base data
	edits             []edit // values that differ from the base, ascending by name
}

// edit is a property value set by a change; "" is a cleared one.
type edit struct{ name, value string }

func (r *record) live() bool { return r.archivedAt == 0 && !r.gone() }

// gone says whether the record can no longer be read under its id.
func (r *record) gone() bool { return r.mergedInto != 0 || r.purged }

// edit returns a property's value if a change set it.
func (r *record) edit(name string) (string, bool) {
	i, ok := slices.BinarySearchFunc(r.edits, name, func(e edit, name string) int { return strings.Compare(e.name, name) })
	if !ok {
		return "", false
	}
	return r.edits[i].value, true
}

// withEdits returns the edits of r with the given values on top.
func (r *record) withEdits(values map[string]string) []edit {
	out := make([]edit, 0, len(r.edits)+len(values))
	for _, e := range r.edits {
		if _, ok := values[e.name]; !ok {
			out = append(out, e)
		}
	}
	for name, value := range values {
		out = append(out, edit{name, value})
	}
	slices.SortFunc(out, func(a, b edit) int { return cmp.Compare(a.name, b.name) })
	return out
}

func (t *table) subject(r *record) subject {
	return subject{table: t, id: r.id, index: r.index, seed: r.seed, created: r.created, modified: r.modified}
}

// appendValue appends the record's value of p; ok is false if it has none ("" counts as none).
func (t *table) appendValue(dst []byte, r *record, s *subject, p *property) (out []byte, ok bool) {
	switch p.system {
	case systemID:
		return appendInt(dst, r.id), true
	case systemCreated:
		return appendTime(dst, r.created), true
	case systemModified:
		return appendTime(dst, r.modified), true
	}
	if value, ok := r.edit(p.Name); ok {
		return append(dst, value...), value != ""
	}
	if r.seed == 0 {
		return dst, false
	}
	h, ok := s.has(p)
	if !ok {
		return dst, false
	}
	n := len(dst)
	dst = p.make(dst, s, h)
	return dst, len(dst) > n
}

// value returns the record's value of p, or "".
func (t *table) value(r *record, p *property) string {
	s := t.subject(r)
	var buf [64]byte
	v, _ := t.appendValue(buf[:0], r, &s, p)
	return string(v)
}
