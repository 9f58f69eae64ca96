package hubspot

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/hubtail/hubtail/schemas"
)

type propertyBody struct {
	Name            string `json:"name"`
	Label           string `json:"label"`
	Type            string `json:"type"`
	FieldType       string `json:"fieldType"`
	Description     string `json:"description"`
	GroupName       string `json:"groupName"`
	Calculated      bool   `json:"calculated"`
	Formula         string `json:"calculationFormula"`
	Hidden          bool   `json:"hidden"`
	HasUniqueValue  bool   `json:"hasUniqueValue"`
	HubSpotDefined  bool   `json:"hubspotDefined"`
	Archived        bool   `json:"archived"`
	DataSensitivity string `json:"dataSensitivity"`
	Options         []struct {
		Label  string `json:"label"`
		Value  text   `json:"value"`
		Hidden bool   `json:"hidden"`
	} `json:"options"`
}

// Properties returns the property definitions of an object type, ascending by name, without archived and sensitive ones.
func (c *Client) Properties(ctx context.Context, object Object) (properties []schemas.Property, err error) {
	err = c.do(ctx, &request{
		kind: kindProperties, what: "read properties of " + object.Name, method: http.MethodGet,
		path: pathProperties(object) + "?archived=false",
		read: func(body []byte) error {
			list, _, err := decodeResults[propertyBody](body)
			if err != nil {
				return err
			}
			properties = make([]schemas.Property, 0, len(list))
			for i := range list {
				if p := &list[i]; p.Name != "" && !p.Archived && (p.DataSensitivity == "" || p.DataSensitivity == "non_sensitive") {
					properties = append(properties, p.property())
				}
			}
			return nil
		},
	})
	slices.SortFunc(properties, func(x, y schemas.Property) int { return strings.Compare(x.Name, y.Name) })
	return properties, err
}

func (b *propertyBody) property() schemas.Property {
	p := schemas.Property{
		Name: b.Name, Label: b.Label, Type: cmp.Or(b.Type, "string"), FieldType: b.FieldType, Description: b.Description,
		GroupName: b.GroupName, Hidden: b.Hidden, HasUniqueValue: b.HasUniqueValue, HubSpotDefined: b.HubSpotDefined,
		// HubSpot rule: "calculated" marks its own, the users' show a formula.
		Calculated: b.Calculated || b.Formula != "" || b.FieldType == "calculation_equation",
	}
	for _, o := range b.Options {
		p.Options = append(p.Options, schemas.Option{Value: string(o.Value), Label: o.Label, Hidden: o.Hidden})
	}
	return p
}

type pipelineBody struct {
	ID           text        `json:"id"`
	Label        string      `json:"label"`
	DisplayOrder int         `json:"displayOrder"`
	Archived     bool        `json:"archived"`
	CreatedAt    moment      `json:"createdAt"`
	UpdatedAt    moment      `json:"updatedAt"`
	Stages       []stageBody `json:"stages"`
}

type stageBody struct {
	ID           text                       `json:"id"`
	Label        string                     `json:"label"`
	DisplayOrder int                        `json:"displayOrder"`
	Archived     bool                       `json:"archived"`
	Metadata     map[string]json.RawMessage `json:"metadata"`
	CreatedAt    moment                     `json:"createdAt"`
	UpdatedAt    moment                     `json:"updatedAt"`
}

// Pipelines returns the pipelines of an object type with their stages, in display order.
func (c *Client) Pipelines(ctx context.Context, object Object) (pipelines []schemas.Pipeline, err error) {
	err = c.do(ctx, &request{
		kind: kindPipelines, what: "read pipelines of " + object.Name, method: http.MethodGet, path: pathPipelines(object),
		read: func(body []byte) error {
			list, _, err := decodeResults[pipelineBody](body)
			if err != nil {
				return err
			}
			pipelines = make([]schemas.Pipeline, 0, len(list))
			for i := range list {
				pipelines = append(pipelines, list[i].pipeline())
			}
			return nil
		},
	})
	slices.SortStableFunc(pipelines, func(x, y schemas.Pipeline) int {
		return cmp.Or(cmp.Compare(x.DisplayOrder, y.DisplayOrder), strings.Compare(x.ID, y.ID))
	})
	return pipelines, err
}

func (b *pipelineBody) pipeline() schemas.Pipeline {
	p := schemas.Pipeline{
		ID: string(b.ID), Label: b.Label, DisplayOrder: b.DisplayOrder, Archived: b.Archived,
		CreatedAt: b.CreatedAt.Time, UpdatedAt: b.UpdatedAt.Time, Stages: make([]schemas.Stage, 0, len(b.Stages)),
	}
	for _, s := range b.Stages {
		p.Stages = append(p.Stages, schemas.Stage{
			ID: string(s.ID), Label: s.Label, DisplayOrder: s.DisplayOrder, Archived: s.Archived, Metadata: s.metadata(),
			CreatedAt: s.CreatedAt.Time, UpdatedAt: s.UpdatedAt.Time,
		})
	}
	slices.SortStableFunc(p.Stages, func(x, y schemas.Stage) int {
		return cmp.Or(cmp.Compare(x.DisplayOrder, y.DisplayOrder), strings.Compare(x.ID, y.ID))
	})
	return p
}

// metadata returns the values as strings, which they are, whatever the JSON type.
func (b *stageBody) metadata() map[string]string {
	if len(b.Metadata) == 0 {
		return nil
	}
	m := make(map[string]string, len(b.Metadata))
	for name, raw := range b.Metadata {
		var value string
		if json.Unmarshal(raw, &value) != nil {
			value = string(raw)
		}
		m[name] = value
	}
	return m
}

type schemaBody struct {
	Name               string `json:"name"`
	ObjectTypeID       string `json:"objectTypeId"`
	FullyQualifiedName string `json:"fullyQualifiedName"`
	Archived           bool   `json:"archived"`
}

// CustomObjects returns the custom object types of the portal, ascending by name. They are named "p_<name>", so that one
// called like a standard type does not clash with it.
func (c *Client) CustomObjects(ctx context.Context) (objects []Object, err error) {
	err = c.do(ctx, &request{
		kind: kindSchemas, what: "read custom object types", method: http.MethodGet, path: pathSchemas + "?archived=false",
		read: func(body []byte) error {
			list, _, err := decodeResults[schemaBody](body)
			if err != nil {
				return err
			}
			objects = make([]Object, 0, len(list))
			for _, s := range list {
				if s.Name != "" && s.ObjectTypeID != "" && !s.Archived {
					objects = append(objects, customObject(s.Name, s.ObjectTypeID, s.FullyQualifiedName))
				}
			}
			return nil
		},
	})
	slices.SortFunc(objects, func(x, y Object) int { return strings.Compare(x.Name, y.Name) })
	return objects, err
}
