package simulator

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// requested returns the properties that a read shows: those asked for, or the object type's default ones.
func (c *call) requested(names []string) []*property {
	d := c.table.definitions
	if len(names) == 0 {
		names = c.table.object.DefaultProperties
	}
	return d.choose(names, c.opts.SensitiveScope)
}

// list answers GET /crm/v3/objects/{type}: a read of the primary store, ascending by id. HubSpot rule: after is an
// inclusive lower bound on the id, in practice the last id of the page before plus one; there is no total, and no paging
// on the last page.
func (c *call) list() {
	q := c.params()
	history := splitNames(q["propertiesWithHistory"])
	most := 100
	if len(history) > 0 {
		most = 50
	}
	limit, ok := c.limit(10, most)
	if !ok {
		return
	}
	archived, ok := c.flag("archived")
	if !ok {
		return
	}
	after := int64(0)
	if s := q.Get("after"); s != "" {
		if after, ok = parseID(s); !ok {
			c.invalid("Invalid after: " + s)
			return
		}
	}
	to := c.associated(q["associations"])
	p := c.portal
	p.mu.RLock()
	enc := p.encoder(c.table, c.requested(splitNames(q["properties"])), c.table.definitions.choose(history, c.opts.SensitiveScope))
	rows := c.pageRows(archived, after, limit+1)
	associations := make([][]byte, len(rows))
	for i := range rows {
		if len(to) > 0 {
			associations[i] = p.appendAssociations(nil, c.table, &rows[i], to)
		}
	}
	p.mu.RUnlock()

	more := len(rows) > limit
	c.body = append(c.body, `{"results":[`...)
	for i := range rows[:min(limit, len(rows))] {
		c.appendRow(enc, &rows[i], associations[i], i)
	}
	c.body = append(c.body, ']')
	if more {
		c.appendPaging(formatID(c.nextAfter(rows[limit-1].id, after)), true)
	}
	c.body = append(c.body, '}')
}

// pageRows returns up to n live or archived records from an id on. The caller holds the lock.
func (c *call) pageRows(archived bool, after int64, n int) []record {
	set := &c.table.live
	if archived {
		set = &c.table.archived
	}
	rows := make([]record, 0, n)
	set.each(set.rank(entry{after, after}), set.n, func(e entry) bool {
		if r, _ := c.table.load(e.id); !c.expired(&r) {
			rows = append(rows, r)
		}
		return len(rows) < n
	})
	return rows
}

// binLife is how long the recycle bin keeps a record. HubSpot rule: 90 days; after that no read shows it.
const binLife = 90 * 24 * time.Hour

func (c *call) expired(r *record) bool {
	return r.archivedAt != 0 && c.now.Sub(time.UnixMilli(r.archivedAt)) > binLife
}

// appendRow appends a record of a page.
func (c *call) appendRow(enc *encoder, r *record, associations []byte, i int) {
	if i > 0 {
		c.body = append(c.body, ',')
	}
	n := len(c.body)
	c.body = enc.appendRecord(c.body, r, associations)
	c.records++
	if c.fault.malformed(i) {
		c.body = c.fault.mangle(c.body, n, r)
	}
}

// nextAfter returns the cursor of the next page.
func (c *call) nextAfter(last, asked int64) int64 {
	switch c.fault.Kind {
	case FaultLoop:
		return asked
	case FaultSkip:
		return last + 1_000_000
	}
	return last + 1
}

func (c *call) appendPaging(after string, link bool) {
	if c.fault.Kind == FaultNoPaging {
		return
	}
	c.body = append(append(append(c.body, `,"paging":{"next":{"after":"`...), after...), '"')
	if link {
		q := maps.Clone(c.params())
		q.Set("after", after)
		c.body = appendJSONString(append(c.body, `,"link":`...), "https://api.hubapi.com"+c.request.URL.EscapedPath()+"?"+q.Encode())
	}
	c.body = append(c.body, "}}"...)
}

// associated finds the object types of an associations parameter. HubSpot rule: unknown ones are ignored.
func (c *call) associated(names []string) []*table {
	var list []*table
	for _, name := range splitNames(names) {
		if t, ok := c.portal.table(name); ok && !slices.Contains(list, t) {
			list = append(list, t)
		}
	}
	return list
}

// get answers GET /crm/v3/objects/{type}/{id}. HubSpot rule: the id of a record that was merged away shows the winner.
func (c *call) get() {
	q := c.params()
	archived, ok := c.flag("archived")
	if !ok {
		return
	}
	history := splitNames(q["propertiesWithHistory"])
	to := c.associated(q["associations"])
	p := c.portal
	p.mu.RLock()
	defer p.mu.RUnlock()
	r, found, ok := c.lookup(c.values[1], q.Get("idProperty"))
	if !ok {
		return
	}
	if !found || (r.archivedAt != 0) != archived {
		c.fail(http.StatusNotFound, "OBJECT_NOT_FOUND", "resource not found")
		return
	}
	enc := p.encoder(c.table, c.requested(splitNames(q["properties"])), c.table.definitions.choose(history, c.opts.SensitiveScope))
	var associations []byte
	if len(to) > 0 {
		associations = p.appendAssociations(nil, c.table, &r, to)
	}
	c.appendRow(enc, &r, associations, 0)
}

// lookup finds a record by id or by a unique property; ok is false if the request was wrong and is answered.
func (c *call) lookup(id, idProperty string) (r record, found, ok bool) {
	if idProperty == "" || idProperty == "hs_object_id" {
		n, valid := parseID(id)
		if !valid {
			return record{}, false, true
		}
		r, found = c.table.resolve(n)
		return r, found && !c.expired(&r), true
	}
	d, known := c.table.definitions.readable(idProperty, c.opts.SensitiveScope)
	if !known || (!d.Unique && !(c.table.object.Name == "contacts" && idProperty == "email")) {
		c.invalid("idProperty " + idProperty + " is not a unique property")
		return record{}, false, false
	}
	c.table.live.each(0, c.table.live.n, func(e entry) bool {
		candidate, _ := c.table.load(e.id)
		if c.table.value(&candidate, d) == id {
			r, found = candidate, true
		}
		return !found
	})
	return r, found, true
}

// batchRequest is the body of a batch read.
type batchRequest struct {
	Inputs []struct {
		ID json.RawMessage `json:"id"`
	} `json:"inputs"`
	Properties            []string `json:"properties"`
	PropertiesWithHistory []string `json:"propertiesWithHistory"`
	IDProperty            string   `json:"idProperty"`
}

// batchRead answers POST /crm/v3/objects/{type}/batch/read. HubSpot rule: at most 100 inputs, 50 with history; missing
// ids make it a 207 with one error that lists them all; the order of the results is not that of the inputs.
func (c *call) batchRead() {
	var req batchRequest
	if !c.readJSON(&req) {
		return
	}
	archived, ok := c.flag("archived")
	if !ok {
		return
	}
	most := 100
	if len(req.PropertiesWithHistory) > 0 {
		most = 50
	}
	switch {
	case len(req.Inputs) == 0:
		c.invalid("Invalid input: inputs must not be empty")
		return
	case len(req.Inputs) > most:
		c.invalid("The maximum number of inputs supported in a batch request for property reads is " + strconv.Itoa(most))
		return
	}
	p := c.portal
	p.mu.RLock()
	rows, missing, ok := c.batchRows(&req, archived)
	d := c.table.definitions
	enc := p.encoder(c.table, c.requested(req.Properties), d.choose(req.PropertiesWithHistory, c.opts.SensitiveScope))
	p.mu.RUnlock()
	if !ok {
		return
	}
	slices.SortFunc(rows, func(a, b record) int {
		return compareIDs(int64(mix(uint64(a.id)^c.number)>>1), int64(mix(uint64(b.id)^c.number)>>1))
	})
	c.body = append(c.body, `{"status":"COMPLETE","results":[`...)
	for i := range rows {
		c.appendRow(enc, &rows[i], nil, i)
	}
	c.body = append(c.body, ']')
	if len(missing) > 0 {
		c.status = http.StatusMultiStatus
		c.body = append(append(c.body, `,"numErrors":1,"errors":[{"status":"error","category":"OBJECT_NOT_FOUND","message":"Could not get some `...), c.table.label...)
		c.body = append(c.body, ` objects, they may be deleted or not exist. Check that ids are valid.","context":{"ids":[`...)
		for i, id := range missing {
			if i > 0 {
				c.body = append(c.body, ',')
			}
			c.body = appendJSONString(c.body, id)
		}
		c.body = append(c.body, "]}}]"...)
	}
	c.appendTiming()
}

// batchRows finds the records of a batch, each once; the caller holds the lock.
func (c *call) batchRows(req *batchRequest, archived bool) (rows []record, missing []string, ok bool) {
	seen := map[int64]bool{}
	for _, in := range req.Inputs {
		id, err := textOrNumber(in.ID)
		if err != nil || id == "" {
			c.invalid("Invalid input JSON: id must be a string")
			return nil, nil, false
		}
		r, found, ok := c.lookup(id, req.IDProperty)
		if !ok {
			return nil, nil, false
		}
		alias := req.IDProperty == "" && formatID(r.id) != id
		if !found || (r.archivedAt != 0) != archived || (alias && c.opts.MergedIDsMissing) {
			if !slices.Contains(missing, id) {
				missing = append(missing, id)
			}
			continue
		}
		if !seen[r.id] {
			seen[r.id] = true
			rows = append(rows, r)
		}
	}
	return rows, missing, true
}

// appendTiming ends a batch answer.
func (c *call) appendTiming() {
	ms := c.now.UnixMilli()
	c.body = append(appendTime(append(c.body, `,"startedAt":"`...), ms), '"')
	c.body = append(appendTime(append(c.body, `,"completedAt":"`...), ms+13), `"}`...)
}

// textOrNumber reads a JSON string or number as text.
func textOrNumber(raw json.RawMessage) (string, error) {
	if len(raw) > 0 && raw[0] == '"' {
		return parseJSONString(raw)
	}
	var n json.Number
	err := json.Unmarshal(raw, &n)
	return n.String(), err
}
