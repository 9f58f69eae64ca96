package simulator

import (
	"encoding/json"
	"errors"
	"net/http"
)

// values reads the properties of a write. HubSpot rule: unknown and read-only properties are refused.
func (c *call) writeValues() (map[string]string, bool) {
	var req struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if !c.readJSON(&req) {
		return nil, false
	}
	values, err := parseValues(req.Properties)
	if err != nil {
		c.invalid("Invalid input JSON: " + err.Error())
		return nil, false
	}
	c.portal.mu.RLock()
	defer c.portal.mu.RUnlock()
	for name := range values {
		p, ok := c.table.definitions.readable(name, c.opts.SensitiveScope)
		switch {
		case !ok:
			c.badProperty(name, "PROPERTY_DOESNT_EXIST", `Property \"`+name+`\" does not exist`)
			return nil, false
		case p.ReadOnly || p.Calculated || p.system != notSystem:
			c.badProperty(name, "READ_ONLY_VALUE", `\"`+name+`\" is a read only property`)
			return nil, false
		}
	}
	return values, true
}

func (c *call) badProperty(name, code, message string) {
	c.reply(http.StatusBadRequest, envelope{
		Status: "error", Category: "VALIDATION_ERROR", CorrelationID: c.correlation(),
		Message: `Property values were not valid: [{"isValid":false,"message":"` + message + `","error":"` + code + `","name":"` + name + `"}]`,
		Errors:  []any{map[string]any{"message": message, "code": code, "context": map[string][]string{"propertyName": {name}}}},
	})
}

// parseValues reads property values: strings, numbers, booleans, and null for "".
func parseValues(raw map[string]json.RawMessage) (map[string]string, error) {
	values := make(map[string]string, len(raw))
	for name, r := range raw {
		text, err := string(r), error(nil)
		switch {
		case text == "null":
			text = ""
		case text == "true" || text == "false":
		default:
			text, err = textOrNumber(r)
		}
		if err != nil {
			return nil, err
		}
		values[name] = text
	}
	return values, nil
}

// createRecord answers POST /crm/v3/objects/{type}.
func (c *call) createRecord() {
	values, ok := c.writeValues()
	if !ok {
		return
	}
	c.portal.mu.Lock()
	defer c.portal.mu.Unlock()
	if email := values["email"]; email != "" && c.table.object.Name == "contacts" {
		r, found, _ := c.lookup(email, "email")
		if found {
			c.fail(http.StatusConflict, "CONFLICT", "Contact already exists. Existing ID: "+formatID(r.id))
			return
		}
	}
	c.show(http.StatusCreated, c.portal.create(c.table, values, false), values)
}

// show answers with a record after a write.
func (c *call) show(status int, r *record, values map[string]string) {
	names := append([]string(nil), c.table.object.DefaultProperties...)
	for name := range values {
		names = append(names, name)
	}
	c.status = status
	c.appendRow(c.portal.encoder(c.table, c.requested(names), nil), r, nil, 0)
}

// updateRecord answers PATCH /crm/v3/objects/{type}/{id}.
func (c *call) updateRecord() {
	values, ok := c.writeValues()
	if !ok {
		return
	}
	c.portal.mu.Lock()
	defer c.portal.mu.Unlock()
	r, found, ok := c.lookup(c.values[1], c.params().Get("idProperty"))
	if !ok {
		return
	}
	if !found || !r.live() {
		c.fail(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
		return
	}
	c.show(http.StatusOK, c.portal.update(c.table, &r, values, 0), values)
}

// deleteRecord answers DELETE /crm/v3/objects/{type}/{id}; an unknown id is 204 too.
func (c *call) deleteRecord() {
	c.archiveOne(c.values[1])
	c.status = http.StatusNoContent
}

func (c *call) archiveOne(id string) {
	c.portal.mu.Lock()
	defer c.portal.mu.Unlock()
	n, ok := parseID(id)
	if r, found := c.table.load(n); ok && found && r.live() {
		c.portal.archive(c.table, &r)
	}
}

// batchArchive answers POST /crm/v3/objects/{type}/batch/archive.
func (c *call) batchArchive() {
	var req batchRequest
	if !c.readJSON(&req) {
		return
	}
	if len(req.Inputs) == 0 || len(req.Inputs) > 100 {
		c.invalid("inputs must hold between 1 and 100 ids")
		return
	}
	for _, in := range req.Inputs {
		id, err := textOrNumber(in.ID)
		if err != nil || id == "" {
			c.invalid("Invalid input JSON: id must be a string")
			return
		}
		c.archiveOne(id)
	}
	c.status = http.StatusNoContent
}

// mergeRecords answers POST /crm/v3/objects/{type}/merge.
func (c *call) mergeRecords() {
	var req struct {
		Primary string `json:"primaryObjectId"`
		Other   string `json:"objectIdToMerge"`
	}
	if !c.readJSON(&req) {
		return
	}
	c.portal.mu.Lock()
	defer c.portal.mu.Unlock()
	primary, found, _ := c.lookup(req.Primary, "")
	other, foundOther, _ := c.lookup(req.Other, "")
	switch {
	case !found || !foundOther || !primary.live() || !other.live():
		c.fail(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
		return
	case primary.id == other.id:
		c.invalid("cannot merge an object into itself")
		return
	}
	winner, err := c.portal.merge(c.table, &primary, &other)
	if errors.Is(err, ErrTooManyMerges) {
		c.fail(http.StatusRequestURITooLong, "", "Cannot have more than 250 identities on a profile")
		return
	}
	c.show(http.StatusOK, winner, nil)
}

// gdprDelete answers POST /crm/v3/objects/contacts/gdpr-delete.
func (c *call) gdprDelete() {
	if c.table.object.Name != "contacts" {
		c.fail(http.StatusNotFound, "", "resource not found")
		return
	}
	var req struct {
		ObjectID   string `json:"objectId"`
		IDProperty string `json:"idProperty"`
	}
	if !c.readJSON(&req) {
		return
	}
	c.portal.mu.Lock()
	defer c.portal.mu.Unlock()
	r, found, ok := c.lookup(req.ObjectID, req.IDProperty)
	if !ok {
		return
	}
	if found {
		c.portal.purge(c.table, &r)
	}
	c.status = http.StatusNoContent
}
