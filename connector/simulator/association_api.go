package simulator

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// associationCursor names the next id in a form that says nothing: the cursor is opaque.
func associationCursor(id int64) string {
	return base64.RawURLEncoding.EncodeToString([]byte("a" + formatID(id)))
}

func parseAssociationCursor(s string) (int64, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) < 2 || raw[0] != 'a' {
		return 0, false
	}
	return parseID(string(raw[1:]))
}

// appendLinks appends results and paging of the links from a cursor on; asString is how the endpoint writes ids.
func (c *call) appendLinks(links []Link, after int64, limit int, asString bool) {
	from, _ := slices.BinarySearchFunc(links, after, func(l Link, id int64) int { return compareIDs(l.To, id) })
	links = links[from:]
	for i, l := range links[:min(limit, len(links))] {
		if i > 0 {
			c.body = append(c.body, ',')
		}
		c.body = append(c.body, `{"toObjectId":`...)
		if asString {
			c.body = append(appendInt(append(c.body, '"'), l.To), '"')
		} else {
			c.body = appendInt(c.body, l.To)
		}
		c.body = append(c.body, `,"associationTypes":[`...)
		for k, t := range l.Types {
			if k > 0 {
				c.body = append(c.body, ',')
			}
			c.body = appendLinkType(c.body, t)
		}
		c.body = append(c.body, "]}"...)
	}
	c.body = append(c.body, ']')
	if len(links) > limit {
		c.appendPaging(associationCursor(links[limit].To), true)
	}
}

func appendLinkType(dst []byte, t LinkType) []byte {
	dst = appendJSONString(append(dst, `{"category":`...), t.Category)
	dst = appendInt(append(dst, `,"typeId":`...), int64(t.TypeID))
	dst = append(dst, `,"label":`...)
	if t.Label == "" {
		return append(dst, "null}"...)
	}
	return append(appendJSONString(dst, t.Label), '}')
}

// other finds the object type at the far end and checks its scope. HubSpot rule: reading associations takes the scopes of
// both ends.
func (c *call) other(name string) (*table, bool) {
	t, ok := c.portal.table(name)
	if !ok {
		c.fail(http.StatusBadRequest, "", "Unable to infer object type from: "+name)
		return nil, false
	}
	return t, c.permitted(scopeOf(t))
}

// associationsOf answers GET /crm/v4/objects/{from}/{id}/associations/{to}.
func (c *call) associationsOf() {
	to, ok := c.other(c.values[2])
	if !ok {
		return
	}
	limit, ok := c.limit(500, 500)
	if !ok {
		return
	}
	after, ok := c.associationAfter(c.params().Get("after"))
	if !ok {
		return
	}
	c.portal.mu.RLock()
	defer c.portal.mu.RUnlock()
	id, valid := parseID(c.values[1])
	r, found := c.table.resolve(id)
	if !valid || !found || !r.live() {
		c.fail(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
		return
	}
	c.body = append(c.body, `{"results":[`...)
	c.appendLinks(c.portal.liveLinks(linkKey{c.table, r.id, to}), after, min(limit, c.opts.AssociationPage), true)
	c.body = append(c.body, '}')
}

func (c *call) associationAfter(s string) (int64, bool) {
	if s == "" {
		return 0, true
	}
	after, ok := parseAssociationCursor(s)
	if !ok {
		c.invalid("Invalid after: " + s)
	}
	return after, ok
}

// associationsBatch answers POST /crm/v4/associations/{from}/{to}/batch/read. HubSpot rule: at most 1,000 inputs, each
// with a cursor of its own; a record without associations is an error in a 207.
func (c *call) associationsBatch() {
	to, ok := c.other(c.values[1])
	if !ok {
		return
	}
	var req struct {
		Inputs []struct {
			ID    json.RawMessage `json:"id"`
			After string          `json:"after"`
		} `json:"inputs"`
	}
	if !c.readJSON(&req) {
		return
	}
	if len(req.Inputs) == 0 || len(req.Inputs) > 1000 {
		c.invalid("inputs must hold between 1 and 1000 ids, not " + strconv.Itoa(len(req.Inputs)))
		return
	}
	c.portal.mu.RLock()
	defer c.portal.mu.RUnlock()
	var failures []any
	c.body = append(c.body, `{"status":"COMPLETE","results":[`...)
	for _, in := range req.Inputs {
		after, ok := c.associationAfter(in.After)
		if !ok {
			return
		}
		text, err := textOrNumber(in.ID)
		id, valid := parseID(orDefault(text, "-"))
		if err != nil || !valid {
			failures = append(failures, c.invalidIdentifier(text))
			continue
		}
		links := c.portal.liveLinks(linkKey{c.table, id, to})
		if len(links) == 0 {
			failures = append(failures, c.noAssociations(text, to))
			continue
		}
		if c.records++; c.records > 1 {
			c.body = append(c.body, ',')
		}
		c.body = append(appendInt(append(c.body, `{"from":{"id":"`...), id), `"},"to":[`...)
		c.appendLinks(links, after, c.opts.AssociationPage, false)
		c.body = append(c.body, '}')
	}
	c.body = append(c.body, ']')
	if len(failures) > 0 {
		c.status = http.StatusMultiStatus
		list, _ := json.Marshal(failures) // maps of strings: cannot fail
		c.body = appendInt(append(c.body, `,"numErrors":`...), int64(len(failures)))
		c.body = append(append(c.body, `,"errors":`...), list...)
	}
	c.appendTiming()
}

func (c *call) noAssociations(id string, to *table) any {
	from, other := c.table.object.Singular, to.object.Singular
	return map[string]any{
		"status": "error", "category": "OBJECT_NOT_FOUND", "subCategory": "crm.associations.NO_ASSOCIATIONS_FOUND",
		"message": "No " + other + " is associated with " + from + " " + id + ".",
		"context": map[string][]string{"fromObjectId": {id}, "fromObjectType": {from}, "toObjectType": {other}},
	}
}

func (c *call) invalidIdentifier(id string) any {
	return map[string]any{
		"status": "error", "category": "VALIDATION_ERROR", "subCategory": "crm.associations.INVALID_IDENTIFIER",
		"message": "Invalid identifier: " + strings.ToValidUTF8(id, "?"), "context": map[string][]string{"id": {id}},
	}
}

// associationLabels answers GET /crm/v4/associations/{from}/{to}/labels.
func (c *call) associationLabels() {
	to, ok := c.other(c.values[1])
	if !ok {
		return
	}
	types := linkTypes(c.table, to)
	if _, _, ok := pairingOf(c.table, to); !ok && c.table.custom == nil && to.custom == nil {
		types = nil
	}
	c.body = append(c.body, `{"results":[`...)
	for i, t := range types {
		if i > 0 {
			c.body = append(c.body, ',')
		}
		c.body = appendLinkType(c.body, t)
	}
	c.body = append(c.body, "]}"...)
}
