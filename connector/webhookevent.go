package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// webhookEvent is one event of a webhook delivery, as far as it says what to read. Its values are left where they are: by
// the time they are here they may be stale, and sensitive ones are "REDACTED".
type webhookEvent struct {
	PortalID         webhookID `json:"portalId"`
	SubscriptionType string    `json:"subscriptionType"`
	EventType        string    `json:"eventType"` // HubSpot's documents have both names
	OccurredAt       int64     `json:"occurredAt"`
	ObjectID         webhookID `json:"objectId"`
	ObjectTypeID     string    `json:"objectTypeId"` // of object.*
	PropertyName     string    `json:"propertyName"`

	// Of a merge: the winner, the losers, and the record that came of it, which may be a third one.
	PrimaryObjectID webhookID   `json:"primaryObjectId"`
	MergedObjectIDs []webhookID `json:"mergedObjectIds"`
	NewObjectID     webhookID   `json:"newObjectId"`

	// Of a changed association: classic ones have AssociationType, those of object.* the type ids.
	AssociationType  string    `json:"associationType"` // CONTACT_TO_COMPANY
	FromObjectID     webhookID `json:"fromObjectId"`
	ToObjectID       webhookID `json:"toObjectId"`
	FromObjectTypeID string    `json:"fromObjectTypeId"`
	ToObjectTypeID   string    `json:"toObjectTypeId"`

	unreadable string // why the event is none
}

// webhookID is an id, a number, as text; "" if it is absent or something else.
type webhookID string

func (id *webhookID) UnmarshalJSON(data []byte) error {
	digits := bytes.Trim(data, `"`)
	if len(digits) == 0 || len(digits) > 19 || bytes.ContainsFunc(digits, func(r rune) bool { return r < '0' || r > '9' }) {
		return nil
	}
	*id = webhookID(bytes.TrimLeft(digits, "0"))
	return nil
}

// maxEvents bounds the events of a delivery. HubSpot rule: up to 100.
const maxEvents = 5000

// errManyEvents says that a delivery is too large.
var errManyEvents = fmt.Errorf("more than %d events", maxEvents)

// parseDelivery reads the body of a delivery: an array of events. An event that is not one does not spoil the others.
func parseDelivery(body []byte) ([]webhookEvent, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	if open, err := dec.Token(); err != nil || open != json.Delim('[') {
		return nil, errors.New("body is not a JSON array")
	}
	var events []webhookEvent
	for dec.More() {
		if len(events) == maxEvents {
			return nil, errManyEvents
		}
		var e webhookEvent
		if err := dec.Decode(&e); err != nil {
			// A member of another type leaves the decoder behind the event.
			if mismatch := (*json.UnmarshalTypeError)(nil); !errors.As(err, &mismatch) {
				return nil, fmt.Errorf("event %d: %w", len(events), err)
			}
			e.unreadable = "a member has another type than HubSpot documents"
		}
		events = append(events, e)
	}
	if _, err := dec.Token(); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("more than one JSON array")
	}
	return events, nil
}

// kind returns the two parts of the subscription type: "contact", "propertyChange".
func (e *webhookEvent) kind() (object, change string) {
	name := e.SubscriptionType
	if name == "" {
		name = e.EventType
	}
	object, change, _ = strings.Cut(name, ".")
	return object, change
}

// objectNames finds the source's object types by the names that webhooks have for them.
type objectNames []hubspot.Object

// find returns the object type of a singular, plural or type id; "" if the source does not read it. Custom object types
// come by type id: their names may be those of standard ones.
func (o objectNames) find(name string) string {
	if standard, ok := hubspot.ObjectByName(name); ok {
		name = standard.TypeID
	}
	i := slices.IndexFunc(o, func(o hubspot.Object) bool { return name != "" && name == o.TypeID })
	if i < 0 {
		return ""
	}
	return o[i].Name
}

// known also finds standard object types that the source does not read.
func (o objectNames) known(name string) string {
	if found := o.find(name); found != "" {
		return found
	}
	standard, _ := hubspot.ObjectByName(name)
	return standard.Name
}

// hints returns what the source should read because of the event, or why there is nothing.
func (e *webhookEvent) hints(portal string, objects objectNames) (list []*schemas.Hint, ignored string) {
	object, change := e.kind()
	switch {
	case e.unreadable != "":
		return nil, e.unreadable
	case string(e.PortalID) != portal:
		return nil, "of another portal"
	case object == "object":
		object = e.ObjectTypeID
	}
	if change == "associationChange" {
		return e.linksHints(portal, object, objects)
	}
	kind, ids := schemas.HintRecord, []webhookID{e.ObjectID}
	switch change {
	case "creation", "deletion", "restore", "propertyChange":
	case "merge":
		ids = append([]webhookID{e.ObjectID, e.PrimaryObjectID, e.NewObjectID}, e.MergedObjectIDs...)
	case "privacyDeletion":
		kind = schemas.HintPurge
	default:
		return nil, "of a type that nothing is read for"
	}
	name := objects.find(object)
	if name == "" {
		return nil, "about an object type that is not among --objects"
	}
	for _, id := range ids {
		if id == "" || slices.ContainsFunc(list, func(h *schemas.Hint) bool { return h.ID == string(id) }) {
			continue
		}
		list = append(list, e.hint(kind, portal, name, id, ""))
		if change == "restore" {
			// Links came back with it. If its being archived was never noticed there is nothing new of the record itself, but
			// its links may have been read meanwhile.
			list = append(list, e.hint(schemas.HintLinks, portal, name, id, ""))
		}
	}
	if len(list) == 0 {
		return nil, "without a record id that is a number"
	}
	return list, ""
}

// linksHints returns hints that both ends of an association have to be looked at, as far as the source reads them.
func (e *webhookEvent) linksHints(portal, object string, objects objectNames) (list []*schemas.Hint, ignored string) {
	from, to := e.FromObjectTypeID, e.ToObjectTypeID
	if from == "" {
		from = object
	}
	if a, b, ok := strings.Cut(strings.ToLower(e.AssociationType), "_to_"); ok && objects.known(a)+objects.known(b) != "" {
		from, to = a, b
	}
	if name := objects.find(from); name != "" && e.FromObjectID != "" {
		list = append(list, e.hint(schemas.HintLinks, portal, name, e.FromObjectID, objects.known(to)))
	}
	if name := objects.find(to); name != "" && e.ToObjectID != "" {
		list = append(list, e.hint(schemas.HintLinks, portal, name, e.ToObjectID, objects.known(from)))
	}
	if len(list) == 0 {
		return nil, "about an association of object types that are not among --objects"
	}
	return list, ""
}

func (e *webhookEvent) hint(kind schemas.HintKind, portal, object string, id webhookID, to string) *schemas.Hint {
	cause := e.SubscriptionType
	if cause == "" {
		cause = e.EventType
	}
	return &schemas.Hint{
		Kind: kind, Portal: portal, Object: object, ID: string(id), To: to,
		OccurredAt: e.at(), Cause: cause, Property: e.PropertyName,
	}
}

// at returns when the event happened; the zero time if what it says is no time that can be written down.
func (e *webhookEvent) at() time.Time {
	const year2200 = 7_258_118_400_000
	if e.OccurredAt <= 0 || e.OccurredAt > year2200 {
		return time.Time{}
	}
	return time.UnixMilli(e.OccurredAt).UTC()
}
