package hubspot

import "net/url"

// Every path and every version of HubSpot's API that the client uses is in this file.

const (
	pathAccount = "/account-info/v3/details"
	pathOwners  = "/crm/v3/owners"
	pathSchemas = "/crm/v3/schemas"
)

// objects is where list, search and batch read of an object type live. HubSpot rule: dated versions have the same verbs and
// bodies at another place.
func (c *core) objects(o Object) string {
	if c.cfg.Version == "v3" {
		return "/crm/v3/objects/" + url.PathEscape(o.Path())
	}
	return "/crm/objects/" + url.PathEscape(c.cfg.Version) + "/" + url.PathEscape(o.Path())
}

func pathProperties(o Object) string { return "/crm/v3/properties/" + url.PathEscape(o.Path()) }

func pathPipelines(o Object) string { return "/crm/v3/pipelines/" + url.PathEscape(o.Path()) }

func pathAssociations(from, to Object) string {
	return "/crm/v4/associations/" + url.PathEscape(from.Path()) + "/" + url.PathEscape(to.Path())
}
