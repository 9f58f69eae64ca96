package connector

import (
	"bytes"
	"cmp"
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
	PortalID         webhookID     `json:"portalId"`
	SubscriptionType webhookText   `json:"subscriptionType"`
	EventType        webhookText   `json:"eventType"` // HubSpot's documents have both names
	OccurredAt       webhookMillis `json:"occurredAt"`
	ObjectID         webhookID     `json:"objectId"`
	ObjectTypeID     webhookText   `json:"objectTypeId"` // of object.*
	PropertyName     webhookText   `json:"propertyName"`

	// Of a merge: the winner, the losers, and the record that came of it, which may be a third one.
	PrimaryObjectID webhookID  `json:"primaryObjectId"`
	MergedObjectIDs webhookIDs `json:"mergedObjectIds"`
	NewObjectID     webhookID  `json:"newObjectId"`

	// Of a changed association: classic ones have AssociationType, those of object.* the type ids.
	AssociationType  webhookText `json:"associationType"` // CONTACT_TO_COMPANY
	FromObjectID     webhookID   `json:"fromObjectId"`
	ToObjectID       webhookID   `json:"toObjectId"`
	FromObjectTypeID webhookText `json:"fromObjectTypeId"`
	ToObjectTypeID   webhookText `json:"toObjectTypeId"`

	unreadable string // why the event is none
	namesPurge bool   // "privacyDeletion" stands somewhere in it
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
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			return nil, fmt.Errorf("event %d: %w", len(events), err)
		}
		var e webhookEvent
		if json.Unmarshal(raw, &e) != nil {
			e = webhookEvent{unreadable: "it is no JSON object"}
		}
		e.namesPurge = bytes.Contains(bytes.ToLower(raw), []byte(strings.ToLower(privacyDeletion)))
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
	object, change, _ = strings.Cut(e.cause(), ".")
	return strings.ToLower(object), change
}

func (e *webhookEvent) cause() string { return string(cmp.Or(e.SubscriptionType, e.EventType)) }

// privacyDeletion is the change of an event that says that a record was deleted for privacy.
const privacyDeletion = "privacyDeletion"

func (e *webhookEvent) isPurge() bool {
	_, change := e.kind()
	return strings.EqualFold(change, privacyDeletion)
}

// isLostPurge reports whether an event that brought no hints may be a privacy deletion of a record that the log has: nobody
// else tells of those, so they must not be forgotten.
func (e *webhookEvent) isLostPurge(portal string, objects objectNames) bool {
	object, change := e.kind()
	switch {
	case e.unreadable != "" || change == "":
		return e.namesPurge
	case !e.isPurge() || e.PortalID != "" && string(e.PortalID) != portal:
		return false
	case object == "" || object == objectEvents && e.ObjectTypeID == "":
		return true
	}
	return objects.erasable(e.object()) != "" // else it is no CRM object, such as a conversation
}

// objectEvents is what the subscription types of object types without one of their own begin with.
const objectEvents = "object"

// object returns the singular or the type id of the object type that the event is about.
func (e *webhookEvent) object() string {
	object, _ := e.kind()
	if object == objectEvents {
		object = string(e.ObjectTypeID)
	}
	return object
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

// erasable finds whatever object type the log may have, whether the source reads it or not: a custom one that it does not
// read by its type id.
func (o objectNames) erasable(name string) string {
	if found := o.known(name); found != "" {
		return found
	}
	if isTypeID(name) {
		return name
	}
	return ""
}

// hints returns what the source should read because of the event, or why there is nothing.
func (e *webhookEvent) hints(portal string, objects objectNames) (list []*schemas.Hint, ignored string) {
	object := e.object()
	_, change := e.kind()
	if e.isPurge() {
		change = privacyDeletion // in whatever case it is written
	}
	switch {
	case e.unreadable != "":
		return nil, e.unreadable
	case string(e.PortalID) != portal:
		return nil, "of another portal"
	}
	if change == "associationChange" {
		return e.linksHints(portal, object, objects)
	}
	kind, ids, name := schemas.HintRecord, []webhookID{e.ObjectID}, objects.find(object)
	switch change {
	case "creation", "deletion", "restore", "propertyChange":
	case "merge":
		ids = append([]webhookID{e.ObjectID, e.PrimaryObjectID, e.NewObjectID}, e.MergedObjectIDs...)
	case privacyDeletion:
		kind, name = schemas.HintPurge, objects.erasable(object)
	default:
		return nil, "of a type that nothing is read for"
	}
	if name == "" {
		return nil, "about an object type that is not among --objects"
	}
	for _, id := range ids {
		if id == "" || slices.ContainsFunc(list, func(h *schemas.Hint) bool { return h.ID == string(id) }) {
			continue
		}
		list = append(list, e.hint(kind, portal, name, id, ""))
		if result := cmp.Or(e.NewObjectID, e.PrimaryObjectID); change == "merge" && id != result && result != "" && (id == e.PrimaryObjectID || slices.Contains(e.MergedObjectIDs, id)) {
			merged := list[len(list)-1]
			merged.Kind, merged.MergedInto = schemas.HintMerge, string(result)
		}
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
	from, to := string(e.FromObjectTypeID), string(e.ToObjectTypeID)
	if from == "" {
		from = object
	}
	if a, b, ok := strings.Cut(strings.ToLower(string(e.AssociationType)), "_to_"); ok && objects.known(a)+objects.known(b) != "" {
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
	return &schemas.Hint{
		Kind: kind, Portal: portal, Object: object, ID: string(id), To: to,
		OccurredAt: e.at(), Cause: e.cause(), Property: string(e.PropertyName),
	}
}

// at returns when the event happened; the zero time if what it says is no time that can be written down.
func (e *webhookEvent) at() time.Time {
	const year2200 = 7_258_118_400_000
	if e.OccurredAt <= 0 || e.OccurredAt > year2200 {
		return time.Time{}
	}
	return time.UnixMilli(int64(e.OccurredAt)).UTC()
}
