package connector

import (
	"context"
	"fmt"
	"slices"
)

// Subscription is one thing that an app of HubSpot can be told of by webhooks.
type Subscription struct {
	Type         string `json:"subscriptionType"` // "contact.creation", "object.propertyChange"
	Object       string `json:"object"`
	ObjectTypeID string `json:"objectTypeId"`
	Property     string `json:"propertyName,omitempty"` // of a propertyChange: each property is a subscription of its own
}

// MaxSubscriptions is how many subscriptions an app can have. HubSpot rule: 1,000.
const MaxSubscriptions = 1000

// unsubscribable are properties that exist and cannot be subscribed. HubSpot rule, but for the last three, which never
// change without another one.
var unsubscribable = []string{
	"hs_lastmodifieddate", "lastmodifieddate", "num_unique_conversion_events",
	"hs_email_html", "hs_email_subject", "hs_communication_body",
	"hs_object_id", "createdate", "hs_createdate",
}

// classicObjects are the object types that have subscriptions under their own names. HubSpot rule: the others are told of
// as object.*, with their type id.
var classicObjects = []string{"contacts", "companies", "deals", "tickets", "products", "line_items"}

// Subscriptions returns what webhooks should be subscribed for the source's object types: everything that there is, but
// for properties that cannot be subscribed or that HubSpot calculates, of which it does not tell. Without a subscription
// for something it is found by polling, later.
func (s *Source) Subscriptions(ctx context.Context) ([]Subscription, error) {
	var list []Subscription
	for _, f := range s.followers {
		o := f.object
		prefix := "object"
		if slices.Contains(classicObjects, o.Name) {
			prefix = o.Singular
		}
		changes := []string{"creation", "deletion", "merge", "restore"}
		if o.Name != "products" {
			changes = append(changes, "associationChange")
		}
		if o.Name == "contacts" {
			changes = append(changes, "privacyDeletion")
		}
		for _, change := range changes {
			list = append(list, Subscription{Type: prefix + "." + change, Object: o.Name, ObjectTypeID: o.TypeID})
		}
		properties, err := f.client.Properties(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("list the properties of %s to subscribe: %w", o.Name, err)
		}
		for _, p := range properties {
			if !p.Calculated && !p.Archived && !slices.Contains(unsubscribable, p.Name) {
				list = append(list, Subscription{Type: prefix + ".propertyChange", Object: o.Name, ObjectTypeID: o.TypeID, Property: p.Name})
			}
		}
	}
	return list, nil
}
