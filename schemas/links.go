package schemas

import (
	"cmp"
	"errors"
	"slices"
)

// Links is the full set of associations from one record to one object type, on `_links.<from>.<id>.<to>`. An empty set
// says that there are none (any more).
type Links struct {
	Portal string `json:"portal"`
	From   string `json:"from"`
	ID     string `json:"id"`
	To     string `json:"to"`
	Links  []Link `json:"links"` // ascending by id (as text), category, type id; no pair of them twice
}

// Link is one association: a pair of records can have several, one per type.
type Link struct {
	ID       string `json:"id"` // of the record linked to
	Category string `json:"category"`
	TypeID   int    `json:"type_id"`
	Label    string `json:"label,omitempty"`
}

// Subject returns where the message travels.
func (l *Links) Subject() Subject {
	return Subject{Kind: KindLinks, Portal: l.Portal, Object: l.From, ID: l.ID, To: l.To}
}

func (*Links) schema() string { return "links" }

// compare orders links by what tells them apart: of two records, an association of a type exists once.
func (l Link) compare(other Link) int {
	return cmp.Or(cmp.Compare(l.ID, other.ID), cmp.Compare(l.Category, other.Category), cmp.Compare(l.TypeID, other.TypeID))
}

func (l *Links) normalise() {
	l.Links = orEmpty(l.Links)
	slices.SortStableFunc(l.Links, Link.compare)
	l.Links = slices.CompactFunc(l.Links, func(a, b Link) bool { return a.compare(b) == 0 })
}

func (l *Links) check() error {
	if l.Links == nil {
		return errMissing("links") // an empty set would delete every link of the record
	}
	for _, link := range l.Links {
		if link.ID == "" {
			return errors.New("link to a record without id")
		}
	}
	return nil
}
