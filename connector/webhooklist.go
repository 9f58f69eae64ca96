package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
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

// Subscriptions returns what webhooks should be subscribed for the named object types, nil means DefaultObjects: all that
// HubSpot offers, but for properties that it calculates, of which it does not tell. What is not subscribed is found by
// polling, later.
func Subscriptions(ctx context.Context, client *hubspot.Client, names []string) ([]Subscription, error) {
	if len(names) == 0 {
		names = DefaultObjects
	}
	chosen, err := resolve(ctx, client, names)
	if err != nil {
		return nil, err
	}
	var list []Subscription
	for _, o := range chosen.objects {
		if o.Name == ownersObject { // there are none for it
			continue
		}
		properties, err := client.Properties(ctx, o)
		if errors.Is(err, hubspot.ErrForbidden) && chosen.optional[o.Name] {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list the properties of %s to subscribe: %w", o.Name, err)
		}
		list = append(list, subscriptionsTo(o, properties)...)
	}
	return list, nil
}

func subscriptionsTo(o hubspot.Object, properties []schemas.Property) (list []Subscription) {
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
	for _, p := range properties {
		if !p.Calculated && !p.Archived && !slices.Contains(unsubscribable, p.Name) {
			list = append(list, Subscription{Type: prefix + ".propertyChange", Object: o.Name, ObjectTypeID: o.TypeID, Property: p.Name})
		}
	}
	return list
}
