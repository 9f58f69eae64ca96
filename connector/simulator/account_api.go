package simulator

import (
	"fmt"
	"net/http"
	"strconv"
)

// account answers GET /account-info/v3/details.
func (c *call) account() {
	_, seconds := c.now.In(c.portal.zone).Zone()
	sign, abs := '+', seconds
	if seconds < 0 {
		sign, abs = '-', -seconds
	}
	c.reply(http.StatusOK, map[string]any{
		"portalId": c.opts.PortalID, "accountType": "STANDARD", "timeZone": c.opts.TimeZone, "companyCurrency": "USD",
		"additionalCurrencies": []string{}, "utcOffset": fmt.Sprintf("%c%02d:%02d", sign, abs/3600, abs/60%60),
		"utcOffsetMilliseconds": seconds * 1000, "uiDomain": "app.hubspot.com", "dataHostingLocation": "na1",
	})
}

// listOwners answers GET /crm/v3/owners, ascending by id.
func (c *call) listOwners() {
	archived, ok := c.flag("archived")
	if !ok {
		return
	}
	limit, ok := c.limit(100, 500)
	if !ok {
		return
	}
	q := c.params()
	after := int64(0)
	if s := q.Get("after"); s != "" {
		if after, ok = parseID(s); !ok {
			c.invalid("Invalid after: " + s)
			return
		}
	}
	c.portal.mu.RLock()
	defer c.portal.mu.RUnlock()
	c.body = append(c.body, `{"results":[`...)
	var last int64
	for i := range c.portal.owners {
		o := &c.portal.owners[i]
		id, _ := parseID(o.ID)
		if o.Archived != archived || id < after || (q.Get("email") != "" && q.Get("email") != o.Email) {
			continue
		}
		if c.records == limit {
			c.body = append(c.body, ']')
			c.appendPaging(strconv.FormatInt(c.nextAfter(last, after), 10), true)
			c.body = append(c.body, '}')
			return
		}
		if c.records > 0 {
			c.body = append(c.body, ',')
		}
		c.body = appendOwner(c.body, o)
		c.records++
		last = id
	}
	c.body = append(c.body, "]}"...)
}

// getOwner answers GET /crm/v3/owners/{id}.
func (c *call) getOwner() {
	archived, ok := c.flag("archived")
	if !ok {
		return
	}
	c.portal.mu.RLock()
	defer c.portal.mu.RUnlock()
	for i := range c.portal.owners {
		if o := &c.portal.owners[i]; o.ID == c.values[0] && o.Archived == archived {
			c.body = appendOwner(c.body, o)
			return
		}
	}
	c.fail(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
}

// listPipelines answers GET /crm/v3/pipelines/{type}; an object type without pipelines has an empty list.
func (c *call) listPipelines() {
	c.portal.mu.RLock()
	list := c.portal.pipelines[c.table.object.Name]
	c.portal.mu.RUnlock()
	if list == nil {
		list = []Pipeline{}
	}
	c.reply(http.StatusOK, map[string]any{"results": list})
}

// wireSchema is a custom object type as the API shows it.
func (c *call) wireSchema(t *table) map[string]any {
	at := string(appendTime(nil, firstDay))
	properties := []wireProperty{}
	for _, p := range t.definitions.all(false) {
		properties = append(properties, p.wire())
	}
	associations := []map[string]any{}
	if contacts, ok := c.portal.table("contacts"); ok {
		associations = append(associations, map[string]any{
			"id": strconv.Itoa(linkTypes(t, contacts)[0].TypeID), "name": t.object.Singular + "_to_contact",
			"fromObjectTypeId": t.object.TypeID, "toObjectTypeId": "0-1", "createdAt": nil, "updatedAt": nil,
		})
	}
	return map[string]any{
		"id": t.object.TypeID[2:], "objectTypeId": t.object.TypeID, "name": t.custom.Name, "fullyQualifiedName": t.object.FullyQualifiedName,
		"labels": map[string]string{"singular": t.custom.Singular, "plural": t.custom.Plural}, "primaryDisplayProperty": "name",
		"secondaryDisplayProperties": []string{}, "requiredProperties": []string{"name"}, "searchableProperties": []string{"name"},
		"properties": properties, "associations": associations, "createdAt": at, "updatedAt": at, "archived": t.custom.Archived,
		"portalId": c.opts.PortalID,
	}
}

// listSchemas answers GET /crm/v3/schemas.
func (c *call) listSchemas() {
	archived, ok := c.flag("archived")
	if !ok {
		return
	}
	c.portal.mu.RLock()
	defer c.portal.mu.RUnlock()
	list := []map[string]any{}
	for _, t := range c.portal.tables {
		if t.custom != nil && t.custom.Archived == archived {
			list = append(list, c.wireSchema(t))
		}
	}
	c.reply(http.StatusOK, map[string]any{"results": list})
}

// getSchema answers GET /crm/v3/schemas/{type}.
func (c *call) getSchema() {
	c.portal.mu.RLock()
	defer c.portal.mu.RUnlock()
	t, ok := c.portal.table(c.values[0])
	if !ok || t.custom == nil {
		c.fail(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
		return
	}
	c.reply(http.StatusOK, c.wireSchema(t))
}
