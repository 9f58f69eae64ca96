package main

import (
	"slices"
	"strings"
)

// activities are the object types that older apps read by the scope of contacts.
var activities = []string{"calls", "emails", "meetings", "notes", "tasks", "communications", "postal_mail"}

// scopesOf returns the scopes that reading an object type usually takes. HubSpot rule: crm.objects.<type>.read for its
// records and crm.schemas.<type>.read for its definitions, tickets has one of its own; HubSpot's 403 names what it wants.
func scopesOf(object string) []string {
	switch {
	case object == "tickets":
		return []string{"tickets"}
	case object == "owners":
		return []string{"crm.objects.owners.read"}
	case strings.HasPrefix(object, "p_") || strings.HasPrefix(object, "2-"):
		return []string{"crm.objects.custom.read", "crm.schemas.custom.read"}
	case slices.Contains([]string{"contacts", "companies", "deals", "line_items", "quotes"}, object):
		return []string{"crm.objects." + object + ".read", "crm.schemas." + object + ".read"}
	case slices.Contains(activities, object):
		return []string{"crm.objects." + object + ".read", "crm.objects.contacts.read"}
	}
	return []string{"crm.objects." + object + ".read"}
}

// scopesFor returns the scopes for a list of object types, each once, in order.
func scopesFor(objects []string) []string {
	var all []string
	for _, o := range objects {
		if o == "all" {
			all = append(all, "crm.objects.*.read", "crm.schemas.*.read", "tickets", "crm.objects.owners.read")
			continue
		}
		if o != "pipelines" {
			all = append(all, scopesOf(o)...)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
