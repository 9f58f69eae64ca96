package simulator

import (
	"net/http"
	"net/url"
)

// oauth answers POST /oauth/{v1|v3|date}/token, which needs no token and counts in no limit; it says whether the path was
// this one.
func (c *call) oauth(segments []string) bool {
	if len(segments) != 3 || segments[0] != "oauth" || segments[2] != "token" || (segments[1] != "v1" && segments[1] != "v3" && !isDated(segments[1])) {
		return false
	}
	if c.request.Method != http.MethodPost {
		c.fail(http.StatusMethodNotAllowed, "", "HTTP 405 Method Not Allowed")
		return true
	}
	c.request.Body = http.MaxBytesReader(nil, c.request.Body, 64<<10)
	if err := c.request.ParseForm(); err != nil {
		c.refuseGrant("BAD_REQUEST", "invalid_request", "malformed form")
		return true
	}
	form := c.request.PostForm
	if segments[1] == "v1" {
		form = c.request.Form // the old endpoint takes the query too
	}
	c.grant(form)
	return true
}

func (c *call) grant(form url.Values) {
	switch {
	case form.Get("grant_type") != "refresh_token":
		c.refuseGrant("BAD_GRANT_TYPE", "unsupported_grant_type", "grant_type must be refresh_token")
	case form.Get("client_id") != c.opts.ClientID:
		c.refuseGrant("BAD_CLIENT_ID", "invalid_client", "missing or unknown client id")
	case form.Get("client_secret") != c.opts.ClientSecret:
		c.refuseGrant("BAD_CLIENT_SECRET", "invalid_client", "missing or unknown client secret")
	default:
		token, ok := c.auth.issue(form.Get("refresh_token"), c.now)
		if !ok {
			c.refuseGrant("BAD_REFRESH_TOKEN", "invalid_grant", "refresh token is invalid, expired or revoked")
			return
		}
		c.reply(http.StatusOK, map[string]any{
			"token_type": "bearer", "access_token": token, "refresh_token": form.Get("refresh_token"),
			"expires_in": int(tokenLife.Seconds()), "hub_id": c.opts.PortalID,
			"scopes": []string{"crm.objects.contacts.read", "crm.objects.companies.read", "crm.objects.deals.read", "oauth"},
		})
	}
}

func (c *call) refuseGrant(status, code, message string) {
	c.reply(http.StatusBadRequest, map[string]string{"error": code, "error_description": message, "status": status, "message": message})
}
