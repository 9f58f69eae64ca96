package simulator

import (
	"net/http"
	"strings"
	"time"
)

// route is one endpoint of the API.
type route struct {
	method  string
	path    string // segments; * matches any, {type} an object type
	kind    kind
	serve   func(*call)
	pattern []string
}

// kind groups endpoints for latency, limits, faults and statistics.
type kind string

const (
	kindList         kind = "list"
	kindGet          kind = "get"
	kindSearch       kind = "search"
	kindBatch        kind = "batch"
	kindAssociations kind = "associations"
	kindProperties   kind = "properties"
	kindOwners       kind = "owners"
	kindPipelines    kind = "pipelines"
	kindSchemas      kind = "schemas"
	kindAccount      kind = "account"
	kindWrite        kind = "write"
	kindOther        kind = "other"
)

// routes is the API, in the form of version 3 (4 for associations); dated versions are rewritten to it.
var routes = makeRoutes([]route{
	{"GET", "crm/v3/objects/{type}", kindList, (*call).list, nil},
	{"POST", "crm/v3/objects/{type}", kindWrite, (*call).createRecord, nil},
	{"POST", "crm/v3/objects/{type}/search", kindSearch, (*call).search, nil},
	{"POST", "crm/v3/objects/{type}/merge", kindWrite, (*call).mergeRecords, nil},
	{"POST", "crm/v3/objects/{type}/gdpr-delete", kindWrite, (*call).gdprDelete, nil},
	{"POST", "crm/v3/objects/{type}/batch/read", kindBatch, (*call).batchRead, nil},
	{"POST", "crm/v3/objects/{type}/batch/archive", kindWrite, (*call).batchArchive, nil},
	{"GET", "crm/v3/objects/{type}/*", kindGet, (*call).get, nil},
	{"PATCH", "crm/v3/objects/{type}/*", kindWrite, (*call).updateRecord, nil},
	{"DELETE", "crm/v3/objects/{type}/*", kindWrite, (*call).deleteRecord, nil},
	{"GET", "crm/v4/objects/{type}/*/associations/*", kindAssociations, (*call).associationsOf, nil},
	{"POST", "crm/v4/associations/{type}/*/batch/read", kindAssociations, (*call).associationsBatch, nil},
	{"GET", "crm/v4/associations/{type}/*/labels", kindAssociations, (*call).associationLabels, nil},
	{"GET", "crm/v3/properties/{type}", kindProperties, (*call).listProperties, nil},
	{"GET", "crm/v3/properties/{type}/*", kindProperties, (*call).getProperty, nil},
	{"GET", "crm/v3/pipelines/{type}", kindPipelines, (*call).listPipelines, nil},
	{"GET", "crm/v3/owners", kindOwners, (*call).listOwners, nil},
	{"GET", "crm/v3/owners/*", kindOwners, (*call).getOwner, nil},
	{"GET", "crm/v3/schemas", kindSchemas, (*call).listSchemas, nil},
	{"GET", "crm/v3/schemas/*", kindSchemas, (*call).getSchema, nil},
	{"GET", "account-info/v3/details", kindAccount, (*call).account, nil},
})

func makeRoutes(list []route) []route {
	for i := range list {
		list[i].pattern = strings.Split(list[i].path, "/")
	}
	return list
}

// findRoute matches a path; known says that the path exists, if only for other methods.
func findRoute(method string, segments []string) (r *route, values []string, known bool) {
	for i := range routes {
		r := &routes[i]
		values, ok := matchSegments(r.pattern, segments)
		if !ok {
			continue
		}
		if r.method == method {
			return r, values, true
		}
		known = true
	}
	return nil, nil, known
}

func matchSegments(pattern, segments []string) (values []string, ok bool) {
	if len(pattern) != len(segments) {
		return nil, false
	}
	for i, p := range pattern {
		switch {
		case p == "*" || p == "{type}":
			if segments[i] == "" {
				return nil, false
			}
			values = append(values, segments[i])
		case p != segments[i]:
			return nil, false
		}
	}
	return values, true
}

// segmentsOf splits a path and rewrites dated and alternative forms. HubSpot rule: /crm/objects/2026-03/... has the verbs
// and bodies of /crm/v3/objects/....
func segmentsOf(path string) []string {
	s := strings.Split(strings.Trim(path, "/"), "/")
	if len(s) >= 3 && s[0] == "crm" && isDated(s[2]) {
		version := "v3"
		if s[1] == "associations" || (len(s) > 5 && s[5] == "associations") {
			version = "v4"
		}
		s[1], s[2] = version, s[1]
	}
	if len(s) >= 3 && (s[0] == "crm-object-schemas" || s[0] == "account-info") && isDated(s[1]) {
		s[1] = "v3"
	}
	if len(s) >= 3 && s[0] == "crm-object-schemas" && s[1] == "v3" {
		s[0], s[1], s[2] = "crm", "v3", "schemas"
	}
	return s
}

func isDated(s string) bool {
	s = strings.TrimSuffix(s, "-beta")
	return len(s) == 7 && s[:2] == "20" && s[4] == '-' && strings.Trim(s[2:4]+s[5:], "0123456789") == ""
}

// serveAPI answers one request: the edge first (length, token), then the limits, then the endpoint.
func (s *Simulator) serveAPI(w http.ResponseWriter, r *http.Request) {
	s.active.Add(1)
	defer s.active.Done()
	c := &call{Simulator: s, request: r, number: s.requests.Add(1), now: s.portal.now(), header: w.Header(), status: http.StatusOK}
	buffer, _ := s.bodies.Get().(*[]byte)
	if buffer == nil {
		buffer = new([]byte)
	}
	c.body = (*buffer)[:0]
	arrived := time.Now()

	c.header.Set("Date", c.now.UTC().Format(http.TimeFormat))
	c.header.Set("Content-Type", "application/json;charset=utf-8")
	c.header.Set("X-HubSpot-Correlation-Id", c.correlation())
	c.answer()
	c.stats.count(c)
	c.finish(w, arrived)

	*buffer = c.body[:0]
	if cap(c.body) < 8<<20 {
		s.bodies.Put(buffer)
	}
}

// answer decides what the request gets.
func (c *call) answer() {
	r := c.request
	if len(r.RequestURI) > c.opts.MaxURL {
		c.header.Set("Content-Type", "text/html")
		c.status, c.body = http.StatusRequestURITooLong, append(c.body, "<html><body><h1>414 Request-URI Too Large</h1></body></html>"...)
		return
	}
	segments := segmentsOf(r.URL.Path)
	if c.oauth(segments) {
		return
	}
	c.app = c.auth.check(r.Header.Get("Authorization"), c.now)
	if c.app == nil {
		c.fail(http.StatusUnauthorized, "INVALID_AUTHENTICATION", "Authentication credentials not found. This API supports OAuth 2.0 authentication and you can find more details at https://developers.hubspot.com/docs/methods/auth/oauth-overview")
		return
	}
	route, values, known := findRoute(r.Method, segments)
	c.route, c.values = route, values
	search := route != nil && route.kind == kindSearch
	if c.limited(c.limits.admit(c.app, search, c.portal.now), search) {
		return
	}
	switch {
	case route == nil && known:
		c.fail(http.StatusMethodNotAllowed, "", "HTTP 405 Method Not Allowed")
	case route == nil:
		c.fail(http.StatusNotFound, "", "resource not found")
	case c.inject():
	case c.typed() && c.scoped():
		route.serve(c)
	}
}

// typed finds the object type that the path names.
func (c *call) typed() bool {
	for i, p := range c.wildcards() {
		if p != "{type}" {
			continue
		}
		t, ok := c.portal.table(c.values[i])
		if !ok {
			c.fail(http.StatusBadRequest, "", "Unable to infer object type from: "+c.values[i])
			return false
		}
		c.table = t
	}
	return true
}

func (c *call) wildcards() []string {
	var list []string
	for _, p := range c.route.pattern {
		if p == "*" || p == "{type}" {
			list = append(list, p)
		}
	}
	return list
}

// scoped checks that the token may read the object type.
func (c *call) scoped() bool {
	scope := ""
	switch {
	case c.table != nil:
		scope = scopeOf(c.table)
	case c.route.kind == kindOwners:
		scope = "crm.objects.owners.read"
	case c.route.kind == kindSchemas:
		scope = "crm.schemas.custom.read"
	}
	return scope == "" || c.permitted(scope)
}

func (c *call) permitted(scope string) bool {
	if c.auth.allowed(scope) {
		return true
	}
	c.reply(http.StatusForbidden, envelope{
		Status: "error", Message: "One or more of the following scopes are required.", CorrelationID: c.correlation(), Category: "MISSING_SCOPES",
		Context: map[string]any{"requiredGranularScopes": []string{scope}, "links": []string{"https://developers.hubspot.com/scopes"}},
	})
	return false
}
