package schemas

import (
	"fmt"
	"slices"
	"strings"
)

// PropertyDefinitions are the property definitions of one object type, whole, on `_properties.<object>`.
type PropertyDefinitions struct {
	Portal       string     `json:"portal"`
	Object       string     `json:"object"`
	ObjectTypeID string     `json:"object_type_id,omitempty"`
	Properties   []Property `json:"properties"` // ascending by name
}

// Property is one property definition, with the fields of HubSpot's properties API that consumers need.
type Property struct {
	Name           string   `json:"name"`
	Label          string   `json:"label,omitempty"`
	Type           string   `json:"type"` // string, number, bool, enumeration, date, datetime, phone_number, json, object_coordinates, ...
	FieldType      string   `json:"field_type,omitempty"`
	Description    string   `json:"description,omitempty"`
	GroupName      string   `json:"group_name,omitempty"`
	Options        []Option `json:"options,omitempty"`
	Calculated     bool     `json:"calculated,omitempty"`
	Hidden         bool     `json:"hidden,omitempty"`
	HasUniqueValue bool     `json:"has_unique_value,omitempty"`
	HubSpotDefined bool     `json:"hubspot_defined,omitempty"`
	Archived       bool     `json:"archived,omitempty"`
}

// Option is one value of an enumeration property.
type Option struct {
	Value  string `json:"value"`
	Label  string `json:"label,omitempty"`
	Hidden bool   `json:"hidden,omitempty"`
}

// Subject returns where the message travels.
func (p *PropertyDefinitions) Subject() Subject {
	return Subject{Kind: KindProperties, Portal: p.Portal, Object: p.Object}
}

func (*PropertyDefinitions) schema() string { return "properties" }

func (p *PropertyDefinitions) normalise() {
	p.Properties = orEmpty(p.Properties)
	slices.SortStableFunc(p.Properties, func(a, b Property) int { return strings.Compare(a.Name, b.Name) })
}

func (p *PropertyDefinitions) check() error {
	if p.Properties == nil {
		return errMissing("properties")
	}
	for _, d := range p.Properties {
		if d.Name == "" || d.Type == "" {
			return fmt.Errorf("property %q has no name or no type", d.Name)
		}
	}
	return nil
}
