package simulator

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// query is a checked search.
type query struct {
	table      *table
	groups     []group
	words      []string  // of the free text
	sort       *property // nil = creation
	descending bool
	offset     int
	limit      int
	nonce      uint64 // differs between requests: rows of equal sort key come in another order each time
	stable     bool
}

// span is a closed range.
type span struct{ low, high int64 }

func (s span) holds(n int64) bool { return s.low <= n && n <= s.high }

var everything = span{math.MinInt64, math.MaxInt64}

// group is a set of filters that all must match. Those on id and times became ranges, which the index answers.
type group struct {
	id, modified, created span
	rest                  []filter
}

func newGroup(filters []filter) group {
	g := group{id: everything, modified: everything, created: everything}
	for _, f := range filters {
		if !g.narrow(f) {
			g.rest = append(g.rest, f)
		}
	}
	return g
}

// narrow turns a filter on id or time into a range; it says whether it could.
func (g *group) narrow(f filter) bool {
	if f.property == nil || f.property.system == notSystem {
		return false
	}
	s := map[systemValue]*span{systemID: &g.id, systemModified: &g.modified, systemCreated: &g.created}[f.property.system]
	n := f.value.whole
	switch f.operator {
	case "EQ":
		*s = span{max(s.low, n), min(s.high, n)}
	case "LT":
		s.high = min(s.high, n-1)
	case "LTE":
		s.high = min(s.high, n)
	case "GT":
		s.low = max(s.low, n+1)
	case "GTE":
		s.low = max(s.low, n)
	case "BETWEEN":
		*s = span{max(s.low, n), min(s.high, f.high.whole)}
	default:
		return false
	}
	return true
}

// order returns the index order of a system property.
func (x *index) order(v systemValue) *ordered {
	switch v {
	case systemID:
		return &x.byID
	case systemModified:
		return &x.byModified
	}
	return &x.byCreated
}

// ranks returns where in an order the entries with keys in s lie.
func (o *ordered) ranks(s span) (from, to int) {
	if s.low > s.high {
		return 0, 0
	}
	from, to = o.rank(entry{s.low, math.MinInt64}), o.n
	if s.high != math.MaxInt64 {
		to = o.rank(entry{s.high + 1, math.MinInt64})
	}
	return from, to
}

// sortKey returns by which system property the query sorts, or notSystem.
func (q *query) sortKey() systemValue {
	if q.sort == nil {
		return systemCreated
	}
	return q.sort.system
}

// run returns the ids of the page and how many records match. The caller holds the lock.
func (q *query) run() (page []int64, total int) {
	if from, to, ok := q.contiguous(); ok {
		return q.walk(from, to), to - from
	}
	hits := q.collect()
	q.arrange(hits)
	for _, h := range hits[min(q.offset, len(hits)):min(q.offset+q.limit, len(hits))] {
		page = append(page, h.id)
	}
	return page, len(hits)
}

// contiguous says whether the matches are a stretch of the order that the query sorts by.
func (q *query) contiguous() (from, to int, ok bool) {
	key := q.sortKey()
	if key == notSystem || len(q.groups) > 1 || len(q.words) > 0 {
		return 0, 0, false
	}
	order := q.table.index.order(key)
	if len(q.groups) == 0 {
		return 0, order.n, true
	}
	g := &q.groups[0]
	spans := map[systemValue]span{systemID: g.id, systemModified: g.modified, systemCreated: g.created}
	for v, s := range spans {
		if v != key && s != everything {
			return 0, 0, false
		}
	}
	if len(g.rest) > 0 {
		return 0, 0, false
	}
	from, to = order.ranks(spans[key])
	return from, to, true
}

// walk returns the page of a stretch of the order, rows of equal key in an order of this request's own.
func (q *query) walk(from, to int) []int64 {
	order := q.table.index.order(q.sortKey())
	first, last := from+q.offset, min(from+q.offset+q.limit, to)
	if q.descending {
		first, last = max(to-q.offset-q.limit, from), to-q.offset
	}
	if first >= last {
		return nil
	}
	start, end := first, last
	if q.sortKey() != systemID {
		// Take in the whole of the runs of equal key at both ends.
		edge := order.slice(nil, first, first+1)
		edge = order.slice(edge, last-1, last)
		start = max(from, order.rank(entry{edge[0].key, math.MinInt64}))
		end = min(to, order.rank(entry{edge[1].key + 1, math.MinInt64}))
	}
	entries := order.slice(nil, start, end)
	if q.sortKey() != systemID {
		slices.SortFunc(entries, func(a, b entry) int {
			if a.key != b.key {
				return compareIDs(a.key, b.key)
			}
			return q.tie(a.id, b.id)
		})
	}
	entries = entries[first-start : last-start]
	if q.descending {
		slices.Reverse(entries)
	}
	page := make([]int64, len(entries))
	for i, e := range entries {
		page[i] = e.id
	}
	return page
}

// tie orders rows of equal sort key. HubSpot rule: there is no second sort, so the order is not guaranteed.
func (q *query) tie(a, b int64) int {
	if q.stable {
		return compareIDs(a, b)
	}
	return compareIDs(int64(mix(uint64(a)^q.nonce)>>1), int64(mix(uint64(b)^q.nonce)>>1))
}

// hit is a match with its sort key.
type hit struct {
	id     int64
	absent bool // has no value to sort by: comes last
	whole  int64
	number float64
	text   string
}

// collect returns all matches, in no order.
func (q *query) collect() []hit {
	groups := q.groups
	if len(groups) == 0 {
		groups = []group{newGroup(nil)}
	}
	var hits []hit
	seen := map[int64]bool{}
	for i := range groups {
		g := &groups[i]
		v, from, to := q.narrowest(g)
		q.table.index.order(v).each(from, to, func(e entry) bool {
			if !g.id.holds(e.id) || (len(groups) > 1 && seen[e.id]) {
				return true
			}
			if h, ok := q.match(g, v, e); ok {
				hits = append(hits, h)
				if len(groups) > 1 {
					seen[e.id] = true
				}
			}
			return true
		})
	}
	return hits
}

// narrowest returns the order in which a group's range is shortest.
func (q *query) narrowest(g *group) (v systemValue, from, to int) {
	v = systemID
	from, to = q.table.index.byID.ranks(g.id)
	if f, t := q.table.index.byModified.ranks(g.modified); t-f < to-from {
		v, from, to = systemModified, f, t
	}
	if f, t := q.table.index.byCreated.ranks(g.created); t-f < to-from {
		v, from, to = systemCreated, f, t
	}
	return v, from, to
}

// match checks an entry of the order v against a group.
func (q *query) match(g *group, v systemValue, e entry) (hit, bool) {
	h := hit{id: e.id, whole: e.key}
	needed := len(g.rest) > 0 || len(q.words) > 0 || (g.modified != everything && v != systemModified) ||
		(g.created != everything && v != systemCreated) || (q.sortKey() != v && q.sortKey() != systemID)
	if !needed {
		if q.sortKey() == systemID {
			h.whole = e.id
		}
		return h, true
	}
	r, ok := q.table.index.indexed(q.table, e.id)
	if !ok || !g.modified.holds(r.modified) || !g.created.holds(r.created) {
		return h, false
	}
	for i := range g.rest {
		if !g.rest[i].matches(q.table, &r) {
			return h, false
		}
	}
	if len(q.words) > 0 && !q.table.mentions(&r, q.words) {
		return h, false
	}
	q.key(&h, &r)
	return h, true
}

// key fills in the sort key of a hit.
func (q *query) key(h *hit, r *record) {
	if v := q.sortKey(); v != notSystem {
		h.whole = systemKey(r, v)
		return
	}
	text := q.table.value(r, q.sort)
	h.whole, h.absent = 0, text == ""
	switch {
	case q.sort.temporal():
		ms, ok := parseTime(text)
		h.whole, h.absent = ms, !ok
	case q.sort.Type == "number":
		n, err := strconv.ParseFloat(text, 64)
		h.number, h.absent = n, err != nil
	default:
		h.text = strings.ToLower(text)
	}
}

// arrange sorts the hits.
func (q *query) arrange(hits []hit) {
	slices.SortFunc(hits, func(a, b hit) int {
		if a.absent != b.absent {
			if a.absent {
				return 1
			}
			return -1
		}
		n := compareIDs(a.whole, b.whole)
		if n == 0 {
			n = compareFloats(a.number, b.number)
		}
		if n == 0 {
			n = strings.Compare(a.text, b.text)
		}
		if n == 0 {
			return q.tie(a.id, b.id)
		}
		if q.descending {
			return -n
		}
		return n
	})
}

func compareFloats(a, b float64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// searchable are the properties that free text looks at.
var searchable = []string{"email", "firstname", "lastname", "phone", "company", "name", "domain", "dealname", "subject", "hs_call_title", "hs_object_id"}

// mentions says whether every word begins one of the record's.
func (t *table) mentions(r *record, words []string) bool {
	var all []string
	for _, name := range searchable {
		if p, ok := t.definitions.byName[name]; ok {
			all = append(all, tokens(t.value(r, p))...)
		}
	}
	for _, w := range words {
		if !slices.ContainsFunc(all, func(s string) bool { return strings.HasPrefix(s, w) }) {
			return false
		}
	}
	return true
}
