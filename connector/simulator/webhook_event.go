package simulator

import (
	"slices"
	"strings"
)

// wireEvent is an event as webhooks carry it.
type wireEvent struct {
	EventID          int64  `json:"eventId"`
	SubscriptionID   int    `json:"subscriptionId"`
	PortalID         int64  `json:"portalId"`
	AppID            int64  `json:"appId"`
	OccurredAt       int64  `json:"occurredAt"`
	SubscriptionType string `json:"subscriptionType"`
	AttemptNumber    int    `json:"attemptNumber"`
	ObjectID         int64  `json:"objectId,omitempty"`
	ObjectTypeID     string `json:"objectTypeId,omitempty"`
	ChangeSource     string `json:"changeSource,omitempty"`
	SourceID         string `json:"sourceId,omitempty"`
	ChangeFlag       string `json:"changeFlag,omitempty"`

	PropertyName  *string `json:"propertyName,omitempty"`
	PropertyValue *string `json:"propertyValue,omitempty"`
	IsSensitive   *bool   `json:"isSensitive,omitempty"`

	PrimaryObjectID         int64   `json:"primaryObjectId,omitempty"`
	MergedObjectIDs         []int64 `json:"mergedObjectIds,omitempty"`
	NewObjectID             int64   `json:"newObjectId,omitempty"`
	NumberOfPropertiesMoved int     `json:"numberOfPropertiesMoved,omitempty"`

	AssociationType      string `json:"associationType,omitempty"`
	AssociationTypeID    int    `json:"associationTypeId,omitempty"`
	AssociationCategory  string `json:"associationCategory,omitempty"`
	FromObjectID         int64  `json:"fromObjectId,omitempty"`
	ToObjectID           int64  `json:"toObjectId,omitempty"`
	FromObjectTypeID     string `json:"fromObjectTypeId,omitempty"`
	ToObjectTypeID       string `json:"toObjectTypeId,omitempty"`
	AssociationRemoved   *bool  `json:"associationRemoved,omitempty"`
	IsPrimaryAssociation *bool  `json:"isPrimaryAssociation,omitempty"`
}

// classic are the object types with subscriptions of their own name; the others have object.* only.
var classic = []string{"contacts", "companies", "deals", "tickets", "products", "line_items"}

// silent are the properties that cannot be subscribed to.
var silent = []string{"hs_lastmodifieddate", "lastmodifieddate", "num_unique_conversion_events", "hs_email_html", "hs_email_subject", "hs_communication_body"}

// wires returns the forms in which an event is delivered: one per matching subscription.
func (w *webhooks) wires(e *event) []wireEvent {
	if e.kind == kindPropertyChange && slices.Contains(silent, e.property) {
		return nil
	}
	if w.config.Subscriptions == nil {
		name := "object." + string(e.kind)
		if slices.Contains(classic, e.table.object.Name) {
			name = e.table.object.Singular + "." + string(e.kind)
		}
		return w.wire(nil, e, name, 1)
	}
	var out []wireEvent
	for i, s := range w.config.Subscriptions {
		object, kind, _ := strings.Cut(s.Type, ".")
		if kind != string(e.kind) || (kind == string(kindPropertyChange) && s.Property != "" && s.Property != e.property) {
			continue
		}
		matches := object == e.table.object.Singular && slices.Contains(classic, e.table.object.Name)
		if object == "object" {
			t, ok := w.portal.table(s.Object)
			matches = ok && t == e.table
		}
		if matches {
			out = w.wire(out, e, s.Type, i+1)
		}
	}
	return out
}

// wire appends the event in the form of a subscription type.
func (w *webhooks) wire(out []wireEvent, e *event, name string, subscription int) []wireEvent {
	generic := strings.HasPrefix(name, "object.")
	if e.kind == kindPrivacyDeletion && e.table.object.Name != "contacts" {
		return out
	}
	w.sequence++
	x := wireEvent{
		EventID: w.sequence/2 + 1, // HubSpot rule: not unique
		// HubSpot numbers subscriptions as they are made.
		SubscriptionID: 686_000 + subscription, PortalID: w.portal.opts.PortalID, AppID: w.config.AppID, OccurredAt: e.at,
		SubscriptionType: name, ObjectID: e.id, ChangeSource: "CRM_UI", SourceID: "userId:9586504",
	}
	if generic {
		x.ObjectTypeID = e.table.object.TypeID
	}
	switch e.kind {
	case kindCreation:
		x.ChangeFlag = "NEW"
	case kindDeletion:
		x.ChangeFlag = "DELETED"
	case kindPropertyChange:
		value := e.value
		sensitive := false
		if p, ok := e.table.definitions.byName[e.property]; ok && p.Sensitivity != "non_sensitive" {
			value, sensitive = "REDACTED", true
		}
		x.PropertyName, x.PropertyValue = &e.property, &value
		if generic {
			x.IsSensitive = &sensitive
		}
	case kindMerge:
		x.PrimaryObjectID, x.MergedObjectIDs, x.NewObjectID, x.NumberOfPropertiesMoved = e.primary, e.merged, e.id, e.moved
	case kindAssociationChange:
		w.associate(&x, e, generic)
	}
	return append(out, x)
}

func (w *webhooks) associate(x *wireEvent, e *event, generic bool) {
	types := linkTypes(e.table, e.other)
	primary := types[0].Label == "Primary"
	x.ObjectID, x.FromObjectID, x.ToObjectID, x.AssociationRemoved, x.IsPrimaryAssociation = 0, e.id, e.otherID, &e.removed, &primary
	x.AssociationType = upper(e.table.object.Singular + "_to_" + e.other.object.Singular)
	if generic {
		x.AssociationType, x.ObjectTypeID = "", ""
		x.AssociationTypeID, x.AssociationCategory = types[0].TypeID, types[0].Category
		x.FromObjectTypeID, x.ToObjectTypeID = e.table.object.TypeID, e.other.object.TypeID
	}
}
