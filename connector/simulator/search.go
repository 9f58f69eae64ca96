package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// searchRequest is the body of a search.
type searchRequest struct {
	FilterGroups []struct {
		Filters []wireFilter `json:"filters"`
	} `json:"filterGroups"`
	Filters    []wireFilter      `json:"filters"`
	Sorts      []json.RawMessage `json:"sorts"`
	Query      string            `json:"query"`
	Properties []string          `json:"properties"`
	Limit      json.RawMessage   `json:"limit"`
	After      json.RawMessage   `json:"after"`
}

// Limits of a search. (HubSpot rule.)
const (
	searchGroups  = 5
	searchFilters = 6 // in a group
	searchAll     = 18
	searchValues  = 3000 // characters of the query and the filter values
	searchPage    = 200
	searchResults = 10_000
)

// search answers POST /crm/v3/objects/{type}/search from the index, which trails behind the records; the values shown are
// the current ones all the same.
func (c *call) search() {
	var req searchRequest
	if !c.readJSON(&req) {
		return
	}
	c.portal.settle()
	p := c.portal
	p.mu.RLock()
	q, err := c.checked(&req)
	if err != nil {
		p.mu.RUnlock()
		c.refuseSearch(err)
		return
	}
	page, total := q.run()
	enc := p.encoder(c.table, c.requested(req.Properties), nil)
	rows := make([]record, 0, len(page))
	for _, id := range page {
		if r, ok := c.hydrate(id); ok {
			rows = append(rows, r)
		}
	}
	p.mu.RUnlock()

	c.body = append(appendInt(append(c.body, `{"total":`...), int64(total)), `,"results":[`...)
	for i := range rows {
		c.appendRow(enc, &rows[i], nil, i)
	}
	c.body = append(c.body, ']')
	if next := q.offset + q.limit; next < total {
		c.appendPaging(strconv.Itoa(int(c.nextOffset(next, q.offset))), false)
	}
	c.body = append(c.body, '}')
}

func (c *call) nextOffset(next, asked int) int {
	switch c.fault.Kind {
	case FaultLoop:
		return asked
	case FaultSkip:
		return next + 100
	}
	return next
}

func (c *call) refuseSearch(err error) {
	if errors.As(err, &brokenFilter{}) {
		c.fail(http.StatusInternalServerError, "", err.Error())
		return
	}
	c.invalid(err.Error())
}

// hydrate returns what a search shows of a record that matched: its current state, though it matched by an older one.
func (c *call) hydrate(id int64) (record, bool) {
	lag := c.opts.IndexLag
	r, ok := c.table.load(id)
	indexed, inIndex := c.table.index.indexed(c.table, id)
	if inIndex && (lag.OldValues || !r.live()) {
		r, ok = indexed, lag.OldValues || lag.Archives
	}
	recent := c.now.UnixMilli()-r.modified < lag.TailMax.Milliseconds()
	if lag.Flicker > 0 && recent && mix(uint64(id)^c.number*0x9e3779b97f4a7c15) < share(lag.Flicker) {
		return r, false
	}
	return r, ok
}

// checked makes a query of the request. The caller holds the lock.
func (c *call) checked(req *searchRequest) (*query, error) {
	q := &query{table: c.table, nonce: mix(c.number*0x9e3779b97f4a7c15 + uint64(c.opts.Seed)), stable: c.opts.StableTies}
	if err := c.page(q, req); err != nil {
		return nil, err
	}
	if err := c.sorted(q, req.Sorts); err != nil {
		return nil, err
	}
	groups := req.FilterGroups
	if len(req.Filters) > 0 {
		groups = append(groups, struct {
			Filters []wireFilter `json:"filters"`
		}{req.Filters})
	}
	if len(groups) > searchGroups {
		return nil, badFilter{fmt.Sprintf("too many filter groups: %d, the maximum is %d", len(groups), searchGroups)}
	}
	q.words = tokens(req.Query)
	all, length := 0, utf8.RuneCountInString(req.Query)
	for _, g := range groups {
		if len(g.Filters) > searchFilters {
			return nil, badFilter{fmt.Sprintf("too many filters in a group: %d, the maximum is %d", len(g.Filters), searchFilters)}
		}
		var list []filter
		for _, w := range g.Filters {
			f, n, err := c.compile(w)
			if err != nil {
				return nil, err
			}
			all, length = all+1, length+n
			list = append(list, f)
		}
		q.groups = append(q.groups, newGroup(list))
	}
	switch {
	case all > searchAll:
		return nil, badFilter{fmt.Sprintf("too many filters: %d, the maximum is %d", all, searchAll)}
	case length > searchValues:
		return nil, badFilter{fmt.Sprintf("query is too long: %d characters, the maximum is %d", length, searchValues)}
	}
	return q, nil
}

// page reads limit and after. HubSpot rule: after is an offset, and nothing beyond 10,000 results can be reached.
func (c *call) page(q *query, req *searchRequest) error {
	limit, err := wholeNumber(req.Limit, 10)
	if err != nil {
		return err
	}
	if limit < 0 || limit > searchPage {
		return badFilter{fmt.Sprintf("limit must be between 0 and %d", searchPage)}
	}
	if q.offset, err = wholeNumber(req.After, 0); err != nil {
		return err
	}
	q.limit = orDefault(limit, 10)
	if q.offset < 0 {
		return badFilter{"after must not be negative"}
	}
	if q.offset+q.limit > searchResults {
		return badFilter{fmt.Sprintf("paging beyond %d results is not supported", searchResults)}
	}
	return nil
}

// wholeNumber reads a number or a numeric string.
func wholeNumber(raw json.RawMessage, fallback int) (int, error) {
	if len(raw) == 0 || string(raw) == "null" || string(raw) == `""` {
		return fallback, nil
	}
	text := strings.Trim(string(raw), `"`)
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, badFilter{fmt.Sprintf("Invalid input JSON on line 1, column 1: Cannot deserialize value of type `int` from String \"%s\": not a valid `int` value", text)}
	}
	return n, nil
}

// sorted reads the sort. HubSpot rule: exactly one rule; without any the order is by creation, oldest first.
func (c *call) sorted(q *query, sorts []json.RawMessage) error {
	if len(sorts) == 0 {
		return nil
	}
	if len(sorts) > 1 {
		return badFilter{"only one sort is supported"}
	}
	var rule struct {
		PropertyName string `json:"propertyName"`
		Direction    string `json:"direction"`
	}
	if json.Unmarshal(sorts[0], &rule.PropertyName) == nil {
		rule.PropertyName, q.descending = strings.CutPrefix(rule.PropertyName, "-")
	} else if err := json.Unmarshal(sorts[0], &rule); err != nil {
		return badFilter{"Invalid input JSON: sorts"}
	}
	switch rule.Direction {
	case "", "ASCENDING":
	case "DESCENDING":
		q.descending = true
	default:
		return badFilter{"Invalid input JSON: unknown sort direction " + rule.Direction}
	}
	p, ok := c.table.definitions.readable(rule.PropertyName, c.opts.SensitiveScope)
	if !ok {
		return badFilter{"There was a problem with the request: sort property " + rule.PropertyName + " does not exist"}
	}
	q.sort = p
	return nil
}

// settle lets the index catch up with the changes whose lag is over.
func (p *portal) settle() {
	now := p.nowMS()
	p.mu.RLock()
	due := len(p.queue) > 0 && p.queue[0].due <= now
	p.mu.RUnlock()
	if due {
		p.mu.Lock()
		p.catchUp(now)
		p.mu.Unlock()
	}
}

// FlushIndex lets search show every change at once.
func (s *Simulator) FlushIndex() {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	s.portal.catchUp(1 << 62)
}

// Indexing returns how many changes search does not show yet and when it will show the last of them.
func (s *Simulator) Indexing() (pending int, until time.Time) {
	s.portal.settle()
	s.portal.mu.RLock()
	defer s.portal.mu.RUnlock()
	last := int64(0)
	for _, item := range s.portal.queue {
		last = max(last, item.due)
	}
	return len(s.portal.queue), time.UnixMilli(last)
}
