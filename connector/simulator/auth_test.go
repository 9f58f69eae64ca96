package simulator_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

func (p *portal) form(path string, values url.Values) answer {
	p.t.Helper()
	req, err := http.NewRequest("POST", p.url+path, strings.NewReader(values.Encode()))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return p.send(req)
}

func grant(secret, refresh string) url.Values {
	return url.Values{"grant_type": {"refresh_token"}, "client_id": {"client-simulator"}, "client_secret": {secret}, "refresh_token": {refresh}}
}

func TestWithoutAValidTokenEverythingIs401(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1})
	for _, token := range []string{"", "wrong"} {
		p.token = token
		if a := p.get("/crm/v3/objects/contacts").want(t, 401); a.text("category") != "INVALID_AUTHENTICATION" || a.text("correlationId") == "" {
			t.Fatalf("%s", a.raw)
		}
	}
	p.get("/account-info/v3/details").want(t, 401)
}

func TestTokensAreRevokedAndRotated(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1})
	p.AllowToken("rotated")
	p.RevokeToken("pat-simulator")
	p.get(owners).want(t, 401)
	p.token = "rotated"
	p.get(owners).want(t, 200)
}

func TestOAuthTokensLiveThirtyMinutes(t *testing.T) {
	t.Parallel()
	clock := &manual{at("2026-11-01T12:00:00Z")}
	p := open(t, simulator.Options{Contacts: 1, Now: clock.Now})
	a := p.form("/oauth/v3/token", grant("simulator-secret", "refresh-simulator")).want(t, 200)
	if a.text("token_type") != "bearer" || a.body["expires_in"].(interface{ String() string }).String() != "1800" {
		t.Fatalf("%s", a.raw)
	}
	p.token = a.text("access_token")
	h := p.get(owners).want(t, 200).header
	if h.Get("X-HubSpot-RateLimit-Max") != "110" || h.Get("X-HubSpot-RateLimit-Daily") != "" {
		t.Fatalf("OAuth headers %v", h)
	}
	clock.now = clock.now.Add(30*time.Minute - time.Second)
	p.get(owners).want(t, 200)
	clock.now = clock.now.Add(time.Second)
	p.get(owners).want(t, 401)
	for _, path := range []string{"/oauth/v1/token", "/oauth/2026-03/token"} {
		p.token = p.form(path, grant("simulator-secret", "refresh-simulator")).want(t, 200).text("access_token")
		p.get(owners).want(t, 200)
	}
	p.ExpireTokens()
	p.get(owners).want(t, 401)
}

func TestOAuthRefusals(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{})
	if a := p.form("/oauth/v3/token", grant("simulator-secret", "old")).want(t, 400); a.text("status") != "BAD_REFRESH_TOKEN" || a.text("error") != "invalid_grant" {
		t.Fatalf("%s", a.raw)
	}
	p.form("/oauth/v3/token", grant("wrong", "refresh-simulator")).want(t, 400)
	p.form("/oauth/v3/token", url.Values{}).want(t, 400)
	p.get("/oauth/v3/token").want(t, 405)
	p.RevokeRefreshToken()
	p.form("/oauth/v3/token", grant("simulator-secret", "refresh-simulator")).want(t, 400)
}

func TestMissingScopeIs403ForItsObjectOnly(t *testing.T) {
	t.Parallel()
	p := open(t, simulator.Options{Contacts: 1, Deals: 1, Companies: 1})
	p.DenyScope("crm.objects.deals.read", true)
	a := p.get("/crm/v3/objects/deals").want(t, 403)
	scopes := a.body["context"].(map[string]any)["requiredGranularScopes"].([]any)
	if a.text("category") != "MISSING_SCOPES" || scopes[0] != "crm.objects.deals.read" {
		t.Fatalf("%s", a.raw)
	}
	p.search("deals", `{}`).want(t, 403)
	p.get("/crm/v3/objects/contacts").want(t, 200)
	// Reading associations takes the scopes of both ends.
	p.post("/crm/v4/associations/contacts/deals/batch/read", `{"inputs":[{"id":"1"}]}`).want(t, 403)
	p.post("/crm/v4/associations/contacts/companies/batch/read", `{"inputs":[{"id":"1"}]}`).want(t, 207)
	p.DenyScope("crm.objects.deals.read", false)
	p.get("/crm/v3/objects/deals").want(t, 200)
}
