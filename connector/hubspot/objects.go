package hubspot

import (
	"slices"
	"strings"
)

// Object is one CRM object type, standard or custom.
type Object struct {
	Name     string // as in paths and subjects: "contacts"; custom ones "p_<name>"
	Singular string // "contact"
	TypeID   string // "0-1"; "2-<n>" for custom ones
	// ModifiedProperty and CreatedProperty hold the times of the last change and of the creation; searches for changes
	// filter on them.
	ModifiedProperty string
	CreatedProperty  string
	// FullyQualifiedName is "p<portal>_<name>" for custom objects and empty for standard ones.
	FullyQualifiedName string
	// DefaultProperties are what list and search answer with when no properties are asked for, ascending.
	DefaultProperties []string
}

// Path returns the name that every endpoint understands. (HubSpot rule: the bare name of a custom object fails on some
// endpoints, its type id never does.)
func (o Object) Path() string {
	if o.FullyQualifiedName != "" && o.TypeID != "" {
		return o.TypeID
	}
	return o.Name
}

// standard is the table of standard objects: name, singular, type id, property of the creation time, default properties
// beyond the three that all have. Names clash with nothing: custom objects are called "p_<name>".
//
// HubSpot rule: contacts keep their modification time in lastmodifieddate, all others in hs_lastmodifieddate. Contacts
// have a definition of the latter too, but no values: a search by it finds nothing, without an error.
var standard = []struct{ name, singular, typeID, created, defaults string }{
	{"contacts", "contact", "0-1", "createdate", "email firstname lastname"},
	{"companies", "company", "0-2", "createdate", "domain name"},
	{"deals", "deal", "0-3", "createdate", "amount closedate dealname dealstage pipeline"},
	{"tickets", "ticket", "0-5", "createdate", "content hs_pipeline hs_pipeline_stage hs_ticket_category hs_ticket_priority subject"},
	{"products", "product", "0-7", "createdate", "description name price"},
	{"line_items", "line_item", "0-8", "createdate", "amount price quantity"},
	{"quotes", "quote", "0-14", "hs_createdate", "hs_expiration_date hs_public_url_key hs_status hs_title"},
	{"communications", "communication", "0-18", "hs_createdate", ""},
	{"feedback_submissions", "feedback_submission", "0-19", "hs_createdate", ""},
	{"tasks", "task", "0-27", "hs_createdate", ""},
	{"notes", "note", "0-46", "hs_createdate", ""},
	{"meetings", "meeting", "0-47", "hs_createdate", ""},
	{"calls", "call", "0-48", "hs_createdate", ""},
	{"emails", "email", "0-49", "hs_createdate", ""},
	{"invoices", "invoice", "0-53", "hs_createdate", ""},
	{"marketing_events", "marketing_event", "0-54", "hs_createdate", ""},
	{"subscriptions", "subscription", "0-69", "hs_createdate", ""},
	{"goal_targets", "goal_target", "0-74", "hs_createdate", ""},
	{"discounts", "discount", "0-84", "hs_createdate", ""},
	{"fees", "fee", "0-85", "hs_createdate", ""},
	{"taxes", "tax", "0-86", "hs_createdate", ""},
	{"payments", "payment", "0-101", "hs_createdate", ""},
	{"users", "user", "0-115", "hs_createdate", ""},
	{"postal_mail", "postal_mail", "0-116", "hs_createdate", ""},
	{"orders", "order", "0-123", "hs_createdate", ""},
	{"leads", "lead", "0-136", "createdate", ""},
	{"carts", "cart", "0-142", "hs_createdate", ""},
	{"services", "service", "0-162", "hs_createdate", ""},
	{"courses", "course", "0-410", "hs_createdate", ""},
	{"listings", "listing", "0-420", "hs_createdate", ""},
	{"appointments", "appointment", "0-421", "hs_createdate", ""},
	{"projects", "project", "0-970", "hs_createdate", ""},
}

// Objects returns the standard object types, ascending by type id. Custom ones come from Client.CustomObjects.
func Objects() []Object {
	objects := make([]Object, len(standard))
	for i := range standard {
		objects[i] = standardObject(i)
	}
	return objects
}

// ObjectByName finds a standard object type by its plural name, its singular or its type id.
func ObjectByName(name string) (Object, bool) {
	for i, s := range standard {
		if name == s.name || name == s.singular || name == s.typeID {
			return standardObject(i), true
		}
	}
	return Object{}, false
}

func standardObject(i int) Object {
	s := standard[i]
	o := Object{Name: s.name, Singular: s.singular, TypeID: s.typeID, ModifiedProperty: "hs_lastmodifieddate", CreatedProperty: s.created}
	if o.TypeID == "0-1" {
		o.ModifiedProperty = "lastmodifieddate"
	}
	o.DefaultProperties = defaultProperties(o, strings.Fields(s.defaults)...)
	return o
}

// customObject returns the object type of a custom schema.
func customObject(name, typeID, fullyQualifiedName string) Object {
	o := Object{
		Name: "p_" + name, Singular: name, TypeID: typeID, FullyQualifiedName: fullyQualifiedName,
		ModifiedProperty: "hs_lastmodifieddate", CreatedProperty: "hs_createdate",
	}
	o.DefaultProperties = defaultProperties(o)
	return o
}

func defaultProperties(o Object, more ...string) []string {
	names := append(more, o.CreatedProperty, o.ModifiedProperty, "hs_object_id")
	slices.Sort(names)
	return names
}
