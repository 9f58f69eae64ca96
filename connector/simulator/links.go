package simulator

import (
	"slices"
)

// LinkType is one type of an association; a pair of records can carry several.
type LinkType struct {
	Category string `json:"category"` // HUBSPOT_DEFINED, USER_DEFINED, ...
	TypeID   int    `json:"typeId"`
	Label    string `json:"label"` // "" = null
}

// Link is an association of a record with another one.
type Link struct {
	To    int64
	Types []LinkType
}

// linkKey names the set of links from one record to one object type.
type linkKey struct {
	from *table
	id   int64
	to   *table
}

// pairing is how two object types are associated: the type ids of both directions, the primary one first where there is
// one, and the share of records of the first type that have a partner in the base data.
type pairing struct {
	from, to          string
	percent           int
	forward, backward []int
}

// HubSpot rule: the type id depends on the direction, and one pair can carry the primary and the plain type at once.
var pairings = []pairing{
	{"contacts", "companies", 70, []int{1, 279}, []int{2, 280}},
	{"deals", "contacts", 85, []int{3}, []int{4}},
	{"deals", "companies", 80, []int{5, 341}, []int{6, 342}},
	{"tickets", "contacts", 90, []int{16}, []int{15}},
	{"calls", "contacts", 95, []int{194}, []int{193}},
	{"tickets", "companies", 0, []int{26, 339}, []int{25, 340}},
	{"deals", "tickets", 0, []int{27}, []int{28}},
	{"deals", "line_items", 0, []int{19}, []int{20}},
	{"leads", "contacts", 0, []int{578, 608}, []int{579, 609}},
	{"notes", "contacts", 0, []int{202}, []int{201}},
	{"tasks", "contacts", 0, []int{204}, []int{203}},
	{"meetings", "contacts", 0, []int{200}, []int{199}},
	{"emails", "contacts", 0, []int{198}, []int{197}},
}

// pairingOf returns the pairing of two types and whether from is its second one.
func pairingOf(from, to *table) (p pairing, backward, ok bool) {
	for _, p := range pairings {
		switch {
		case p.from == from.object.Name && p.to == to.object.Name:
			return p, false, true
		case p.to == from.object.Name && p.from == to.object.Name:
			return p, true, true
		}
	}
	return pairing{}, false, false
}

// linkTypes returns the types that a link from one object type to another has unless said otherwise.
func linkTypes(from, to *table) []LinkType {
	p, backward, ok := pairingOf(from, to)
	if !ok {
		// Pairs with custom objects have ids of their own, above those of HubSpot.
		return []LinkType{{Category: "USER_DEFINED", TypeID: 10_000 + int(hashText(from.object.Name+" "+to.object.Name)%50_000), Label: labelOf(to.object.Singular)}}
	}
	ids := p.forward
	if backward {
		ids = p.backward
	}
	types := make([]LinkType, len(ids))
	for i, id := range ids {
		types[i] = LinkType{Category: "HUBSPOT_DEFINED", TypeID: id}
		if len(ids) > 1 && i == 0 {
			types[i].Label = "Primary"
		}
	}
	return types
}

// partner returns the index of the base record that base record i of the pairing's first type is linked to, or -1.
func (p pairing) partner(from, to *table, i int) int {
	n, m := from.ids.n, to.ids.n
	if i < 0 || m == 0 || !percent(mix(from.ids.hash(i)^hashText(p.to)), p.percent) {
		return -1
	}
	j := 0
	if n >= m {
		j = i / ((n + m - 1) / m)
	} else {
		k := m / n
		j = i*k + int(mix(from.ids.hash(i))%uint64(k))
	}
	if j >= m {
		return -1
	}
	return j
}

// partners is the reverse of partner: all base records of the first type that are linked to base record j.
func (p pairing) partners(from, to *table, j int) []int {
	n, m := from.ids.n, to.ids.n
	if j < 0 || n == 0 || m == 0 {
		return nil
	}
	first, last := 0, 0
	if n >= m {
		k := (n + m - 1) / m
		first, last = j*k, min((j+1)*k, n)
	} else {
		first = j / (m / n)
		last = min(first+1, n)
	}
	var list []int
	for i := first; i < last; i++ {
		if p.partner(from, to, i) == j {
			list = append(list, i)
		}
	}
	return list
}

// baseLinks returns the links of the base data.
func baseLinks(k linkKey) []Link {
	i := k.from.ids.index(k.id)
	p, backward, ok := pairingOf(k.from, k.to)
	if i < 0 || !ok {
		return nil
	}
	var others []int
	if backward {
		others = p.partners(k.to, k.from, i)
	} else if j := p.partner(k.from, k.to, i); j >= 0 {
		others = []int{j}
	}
	types := linkTypes(k.from, k.to)
	list := make([]Link, len(others))
	for n, j := range others {
		list[n] = Link{To: k.to.ids.id(j), Types: types}
	}
	return list
}

// allLinks returns the links of a record, those to archived records included; ascending by id.
func (p *portal) allLinks(k linkKey) []Link {
	if list, ok := p.links[k]; ok {
		return list
	}
	return baseLinks(k)
}

// liveLinks returns the links that reads show: those to records that are neither archived nor gone.
func (p *portal) liveLinks(k linkKey) []Link {
	if r, ok := k.from.load(k.id); !ok || !r.live() {
		return nil
	}
	list := p.allLinks(k)
	for i, l := range list {
		if r, ok := k.to.load(l.To); ok && r.live() {
			continue
		}
		out := slices.Clone(list[:i])
		for _, l := range list[i+1:] {
			if r, ok := k.to.load(l.To); ok && r.live() {
				out = append(out, l)
			}
		}
		return out
	}
	return list
}

// setLink adds types to the link of a record with another, one direction.
func (p *portal) setLink(k linkKey, to int64, types []LinkType) {
	list := slices.Clone(p.allLinks(k))
	i, ok := slices.BinarySearchFunc(list, to, func(l Link, id int64) int { return compareIDs(l.To, id) })
	if !ok {
		list = slices.Insert(list, i, Link{To: to})
	}
	merged := slices.Clone(list[i].Types)
	for _, t := range types {
		if !slices.ContainsFunc(merged, func(m LinkType) bool { return m.TypeID == t.TypeID && m.Category == t.Category }) {
			merged = append(merged, t)
		}
	}
	list[i].Types = merged
	p.links[k] = list
}

// dropLink removes a record from another's links, one direction.
func (p *portal) dropLink(k linkKey, to int64) bool {
	list := p.allLinks(k)
	i, ok := slices.BinarySearchFunc(list, to, func(l Link, id int64) int { return compareIDs(l.To, id) })
	if ok {
		p.links[k] = slices.Delete(slices.Clone(list), i, i+1)
	}
	return ok
}

func compareIDs(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// genAssociatedCompany is the copy of a contact's company that HubSpot keeps on the contact.
func genAssociatedCompany(dst []byte, s *subject, _ uint64) []byte {
	companies, _ := s.table.portal.table("companies")
	if j := pairings[0].partner(s.table, companies, s.index); j >= 0 {
		return appendInt(dst, companies.ids.id(j))
	}
	return dst
}

// genLinkCount makes the counter of a record's links to another type.
func genLinkCount(other string) generator {
	return func(dst []byte, s *subject, _ uint64) []byte {
		to, _ := s.table.portal.table(other)
		if n := len(baseLinks(linkKey{s.table, s.id, to})); n > 0 {
			return appendInt(dst, int64(n))
		}
		return dst
	}
}
