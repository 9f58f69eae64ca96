package simulator

import (
	"slices"
	"strings"
)

// Property is the definition of one property of an object type.
type Property struct {
	Name           string   `json:"name"`
	Label          string   `json:"label"`
	Type           string   `json:"type"`      // "" = string
	FieldType      string   `json:"fieldType"` // "" = text
	Group          string   `json:"groupName"`
	Description    string   `json:"description"`
	Options        []Option `json:"options"`
	Calculated     bool     `json:"calculated"`
	Formula        string   `json:"calculationFormula"`
	Hidden         bool     `json:"hidden"`
	Unique         bool     `json:"hasUniqueValue"`
	ReadOnly       bool     `json:"readOnlyValue"`
	HubSpotDefined bool     `json:"hubspotDefined"`
	Sensitivity    string   `json:"dataSensitivity"` // "" = non_sensitive
	Archived       bool     `json:"archived"`
}

// Option is one choice of an enumeration.
type Option struct {
	Label  string `json:"label"`
	Value  string `json:"value"`
	Hidden bool   `json:"hidden"`
}

// systemValue marks the properties that mirror a record's own fields.
type systemValue uint8

const (
	notSystem systemValue = iota
	systemID
	systemCreated
	systemModified
)

// property is a definition with what is needed to make and print its base values. It never changes; a changed definition
// is a new one.
type property struct {
	Property
	createdAt, updatedAt, archivedAt int64 // epoch ms

	key    []byte // `"name":`
	system systemValue
	seed   uint64
	fill   uint64    // records whose hash is below have a base value
	make   generator // nil = no base values
	plain  bool      // base values need no JSON escaping
}

func newProperty(p Property) *property {
	p.Type = orDefault(p.Type, "string")
	p.FieldType = orDefault(p.FieldType, "text")
	p.Label = orDefault(p.Label, labelOf(p.Name))
	p.Sensitivity = orDefault(p.Sensitivity, "non_sensitive")
	key := appendJSONString(nil, p.Name)
	return &property{
		Property: p, key: append(key, ':'), seed: hashText(p.Name),
		createdAt: firstDay, updatedAt: firstDay,
	}
}

func (p *property) temporal() bool { return p.Type == "datetime" || p.Type == "date" }

func labelOf(name string) string {
	words := strings.Split(strings.TrimPrefix(name, "hs_"), "_")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, " ")
}

// definitions is the set of definitions of one object type. It never changes; every change makes a new one, so that a
// page is answered from one set.
type definitions struct {
	sorted []*property // ascending by name, archived ones included
	byName map[string]*property
}

func newDefinitions(properties []*property) *definitions {
	d := &definitions{sorted: slices.Clone(properties), byName: make(map[string]*property, len(properties))}
	slices.SortStableFunc(d.sorted, func(a, b *property) int { return strings.Compare(a.Name, b.Name) })
	d.sorted = slices.CompactFunc(d.sorted, func(a, b *property) bool { return a.Name == b.Name })
	for _, p := range d.sorted {
		d.byName[p.Name] = p
	}
	return d
}

// with returns the set in which p takes the place of the definition of its name.
func (d *definitions) with(p *property) *definitions {
	rest := slices.DeleteFunc(slices.Clone(d.sorted), func(q *property) bool { return q.Name == p.Name })
	return newDefinitions(append(rest, p))
}

// readable returns the definition of a property that reads may ask for.
func (d *definitions) readable(name string, sensitive bool) (*property, bool) {
	p, ok := d.byName[name]
	if !ok || p.Archived || (p.Sensitivity != "non_sensitive" && !sensitive) {
		return nil, false
	}
	return p, true
}

// all returns every property that reads may ask for.
func (d *definitions) all(sensitive bool) []*property {
	out := make([]*property, 0, len(d.sorted))
	for _, p := range d.sorted {
		if _, ok := d.readable(p.Name, sensitive); ok {
			out = append(out, p)
		}
	}
	return out
}

// choose returns the definitions of the names, ascending and once each. (HubSpot rule: unknown names are ignored; keys
// of a record's properties come sorted.)
func (d *definitions) choose(names []string, sensitive bool) []*property {
	out := make([]*property, 0, len(names))
	for _, name := range names {
		if p, ok := d.readable(name, sensitive); ok {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *property) int { return strings.Compare(a.Name, b.Name) })
	return slices.Compact(out)
}
