package simulator

import (
	"slices"
	"strings"
)

// encoder prints records of one object type as the API shows them. One encoder serves one request.
type encoder struct {
	table   *table
	plan    []*property // which properties, ascending
	history []*property // which of them with their older values
	url     string      // start of a record's url; "" = none
	scratch []byte
}

func (p *portal) encoder(t *table, plan, history []*property) *encoder {
	e := &encoder{table: t, plan: plan, history: history}
	if !p.opts.NoRecordURL {
		e.url = "https://app.hubspot.com/contacts/" + formatID(p.opts.PortalID) + "/record/" + t.object.TypeID + "/"
	}
	return e
}

// appendRecord appends one record; associations is the JSON of that key, or nil. A record that is archived says since when.
func (e *encoder) appendRecord(dst []byte, r *record, associations []byte) []byte {
	dst = append(dst, `{"id":"`...)
	dst = appendInt(dst, r.id)
	dst = append(dst, `","properties":{`...)
	dst = e.appendProperties(dst, r)
	dst = append(dst, `},`...)
	if len(e.history) > 0 {
		dst = append(e.appendHistory(append(dst, `"propertiesWithHistory":{`...), r), `},`...)
	}
	dst = append(dst, `"createdAt":"`...)
	dst = appendTime(dst, r.created)
	dst = append(dst, `","updatedAt":"`...)
	dst = appendTime(dst, r.modified)
	dst = append(dst, `","archived":`...)
	dst = appendBool(dst, r.archivedAt != 0)
	if r.archivedAt != 0 {
		dst = append(appendTime(append(dst, `,"archivedAt":"`...), r.archivedAt), '"')
	}
	if associations != nil {
		dst = append(append(dst, `,"associations":`...), associations...)
	}
	if e.url != "" {
		dst = append(appendInt(append(append(dst, `,"url":"`...), e.url...), r.id), '"')
	}
	return append(dst, '}')
}

// appendProperties appends the values of the plan. HubSpot rule: a property that was asked for and has no value is there
// with null. This loop runs 40,000 times for one page of full width.
func (e *encoder) appendProperties(dst []byte, r *record) []byte {
	s := e.table.subject(r)
	edits := r.edits
	for i, p := range e.plan {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, p.key...)
		for len(edits) > 0 && edits[0].name < p.Name {
			edits = edits[1:]
		}
		switch {
		case p.system != notSystem:
			dst = append(dst, '"')
			dst, _ = e.table.appendValue(dst, r, &s, p)
			dst = append(dst, '"')
		case len(edits) > 0 && edits[0].name == p.Name:
			dst = appendEdit(dst, r, edits[0])
		case r.seed == 0:
			dst = append(dst, "null"...)
		default:
			dst = e.appendBase(dst, &s, p)
		}
	}
	return dst
}

// appendEdit appends a changed value. HubSpot rule: a cleared value reads as "" or as null.
func appendEdit(dst []byte, r *record, v edit) []byte {
	if v.value == "" && mix(uint64(r.id)^hashText(v.name))&1 == 0 {
		return append(dst, "null"...)
	}
	return appendJSONString(dst, v.value)
}

func (e *encoder) appendBase(dst []byte, s *subject, p *property) []byte {
	h, ok := s.has(p)
	if !ok {
		return append(dst, "null"...)
	}
	if p.plain {
		n := len(dst)
		dst = p.make(append(dst, '"'), s, h)
		if len(dst) == n+1 {
			return append(dst[:n], "null"...)
		}
		return append(dst, '"')
	}
	e.scratch = p.make(e.scratch[:0], s, h)
	return appendJSONString(dst, string(e.scratch))
}

// appendHistory appends the versions of values, newest first. The simulator remembers the current value and the one the
// record was created with.
func (e *encoder) appendHistory(dst []byte, r *record) []byte {
	base, isBase := e.table.base(r.id)
	for i, p := range e.history {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(append(dst, p.key...), '[')
		n := len(dst)
		if v := e.table.value(r, p); v != "" {
			dst = appendVersion(dst, v, r.modified)
		}
		if v := e.table.value(&base, p); isBase && v != "" && v != e.table.value(r, p) {
			if len(dst) > n {
				dst = append(dst, ',')
			}
			dst = appendVersion(dst, v, r.created)
		}
		dst = append(dst, ']')
	}
	return dst
}

func appendVersion(dst []byte, value string, at int64) []byte {
	dst = appendJSONString(append(dst, `{"value":`...), value)
	dst = appendTime(append(dst, `,"timestamp":"`...), at)
	return append(dst, `","sourceType":"CRM_UI","sourceId":"userId:9586504","sourceLabel":null,"updatedByUserId":9586504}`...)
}

// appendAssociations appends the associations of a record to the types asked for. HubSpot rule: an id comes once per
// association type, and without any association the key is absent (nil).
func (p *portal) appendAssociations(dst []byte, t *table, r *record, to []*table) []byte {
	start := len(dst)
	for _, other := range to {
		links := p.liveLinks(linkKey{t, r.id, other})
		if len(links) == 0 {
			continue
		}
		if len(dst) == start {
			dst = append(dst, '{')
		} else {
			dst = append(dst, ',')
		}
		name := other.object.Name
		if other.custom != nil {
			name = other.object.FullyQualifiedName
		}
		dst = append(appendJSONString(dst, name), `:{"results":[`...)
		shown := links[:min(len(links), p.opts.AssociationPage)]
		for i, l := range shown {
			for k := range l.Types {
				if i+k > 0 {
					dst = append(dst, ',')
				}
				kind := t.object.Singular + "_to_" + other.object.Singular
				if len(l.Types) > 1 && k > 0 {
					kind += "_unlabeled"
				}
				dst = append(appendInt(append(dst, `{"id":"`...), l.To), `","type":`...)
				dst = append(appendJSONString(dst, kind), '}')
			}
		}
		dst = append(dst, ']')
		if len(shown) < len(links) {
			after := associationCursor(links[len(shown)].To)
			dst = append(append(append(dst, `,"paging":{"next":{"after":"`...), after...), `"}}`...)
		}
		dst = append(dst, '}')
	}
	if len(dst) > start {
		dst = append(dst, '}')
	}
	return dst[start:]
}

// splitNames reads a parameter that lists names, separated by commas, in one value or in several.
func splitNames(values []string) []string {
	var names []string
	for _, value := range values {
		names = append(names, strings.Split(value, ",")...)
	}
	return slices.DeleteFunc(names, func(s string) bool { return s == "" })
}
