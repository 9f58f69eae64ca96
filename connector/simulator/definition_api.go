package simulator

import "net/http"

// wireProperty is a definition as the API shows it.
type wireProperty struct {
	Name                 string       `json:"name"`
	Label                string       `json:"label"`
	Type                 string       `json:"type"`
	FieldType            string       `json:"fieldType"`
	Description          string       `json:"description"`
	GroupName            string       `json:"groupName"`
	Options              []wireOption `json:"options"`
	CreatedAt            string       `json:"createdAt"`
	UpdatedAt            string       `json:"updatedAt"`
	ArchivedAt           string       `json:"archivedAt,omitempty"`
	DisplayOrder         int          `json:"displayOrder"`
	Calculated           bool         `json:"calculated"`
	CalculationFormula   string       `json:"calculationFormula,omitempty"`
	ExternalOptions      bool         `json:"externalOptions"`
	ReferencedObjectType string       `json:"referencedObjectType,omitempty"`
	Archived             bool         `json:"archived"`
	HasUniqueValue       bool         `json:"hasUniqueValue"`
	Hidden               bool         `json:"hidden"`
	HubspotDefined       bool         `json:"hubspotDefined,omitempty"`
	FormField            bool         `json:"formField"`
	DataSensitivity      string       `json:"dataSensitivity"`
	ModificationMetadata struct {
		Archivable         bool `json:"archivable"`
		ReadOnlyDefinition bool `json:"readOnlyDefinition"`
		ReadOnlyOptions    bool `json:"readOnlyOptions"`
		ReadOnlyValue      bool `json:"readOnlyValue"`
	} `json:"modificationMetadata"`
}

type wireOption struct {
	Label        string `json:"label"`
	Value        string `json:"value"`
	DisplayOrder int    `json:"displayOrder"`
	Hidden       bool   `json:"hidden"`
}

func (p *property) wire() wireProperty {
	w := wireProperty{
		Name: p.Name, Label: p.Label, Type: p.Type, FieldType: p.FieldType, Description: p.Description, GroupName: p.Group,
		Options: make([]wireOption, len(p.Options)), CreatedAt: string(appendTime(nil, p.createdAt)), UpdatedAt: string(appendTime(nil, p.updatedAt)),
		DisplayOrder: -1, Calculated: p.Calculated, CalculationFormula: p.Formula, Archived: p.Archived, HasUniqueValue: p.Unique, Hidden: p.Hidden,
		HubspotDefined: p.HubSpotDefined, FormField: !p.Hidden && !p.ReadOnly, DataSensitivity: p.Sensitivity,
	}
	if p.Name == "hubspot_owner_id" {
		w.ExternalOptions, w.ReferencedObjectType = true, "OWNER"
	}
	if p.Archived {
		w.ArchivedAt = string(appendTime(nil, max(p.archivedAt, firstDay)))
	}
	for i, o := range p.Options {
		w.Options[i] = wireOption{Label: o.Label, Value: o.Value, DisplayOrder: i, Hidden: o.Hidden}
	}
	w.ModificationMetadata.Archivable = !p.HubSpotDefined
	w.ModificationMetadata.ReadOnlyDefinition = p.HubSpotDefined
	w.ModificationMetadata.ReadOnlyValue = p.ReadOnly || p.Calculated
	return w
}

// listProperties answers GET /crm/v3/properties/{type}: all definitions at once. HubSpot rule: sensitive ones come only
// when asked for.
func (c *call) listProperties() {
	archived, ok := c.flag("archived")
	if !ok {
		return
	}
	sensitivity := orDefault(c.params().Get("dataSensitivity"), "non_sensitive")
	switch sensitivity {
	case "non_sensitive", "sensitive", "highly_sensitive":
	default:
		c.invalid("invalid dataSensitivity: " + sensitivity)
		return
	}
	c.portal.mu.RLock()
	d := c.table.definitions
	c.portal.mu.RUnlock()
	list := make([]wireProperty, 0, len(d.sorted))
	for _, p := range d.sorted {
		if p.Archived == archived && p.Sensitivity == sensitivity {
			list = append(list, p.wire())
		}
	}
	c.reply(http.StatusOK, map[string]any{"results": list})
}

// getProperty answers GET /crm/v3/properties/{type}/{name}.
func (c *call) getProperty() {
	archived, ok := c.flag("archived")
	if !ok {
		return
	}
	c.portal.mu.RLock()
	p, found := c.table.definitions.byName[c.values[1]]
	c.portal.mu.RUnlock()
	if !found || p.Archived != archived {
		c.fail(http.StatusNotFound, "OBJECT_NOT_FOUND", "Property "+c.values[1]+" does not exist")
		return
	}
	c.reply(http.StatusOK, p.wire())
}
