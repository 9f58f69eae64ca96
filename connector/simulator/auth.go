package simulator

import (
	"fmt"
	"strings"
	"sync"
	"time"
)

// app is one program that is connected to the account: a private app by its token, or the OAuth app.
type app struct {
	name  string
	oauth bool
}

// tokenLife is how long an OAuth access token is valid. HubSpot rule: 30 minutes.
const tokenLife = 30 * time.Minute

// auth knows the valid tokens and the scopes.
type auth struct {
	opts Options

	mu       sync.Mutex // guards all below
	tokens   map[string]grant
	oauthApp *app
	refresh  string // the refresh token; "" = revoked
	issued   int
	denied   map[string]bool // scopes taken away
}

// grant is what an access token stands for.
type grant struct {
	app     *app
	expires time.Time // zero = never
}

func newAuth(o Options) *auth {
	a := &auth{opts: o, tokens: map[string]grant{}, refresh: o.RefreshToken, denied: map[string]bool{}, oauthApp: &app{name: "oauth", oauth: true}}
	for i, token := range append([]string{o.Token}, o.Tokens...) {
		a.tokens[token] = grant{app: &app{name: fmt.Sprintf("private-%d", i+1)}}
	}
	return a
}

// check returns the app behind an Authorization header, or nil.
func (a *auth) check(header string, now time.Time) *app {
	token, ok := strings.CutPrefix(header, "Bearer ")
	if !ok {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	g, ok := a.tokens[token]
	if !ok || (!g.expires.IsZero() && !now.Before(g.expires)) {
		return nil
	}
	return g.app
}

// issue makes an access token of the OAuth app; ok is false if the refresh token is not good (any more).
func (a *auth) issue(refresh string, now time.Time) (token string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.refresh == "" || refresh != a.refresh {
		return "", false
	}
	a.issued++
	token = fmt.Sprintf("oauth-%d-%016x", a.issued, mix(uint64(a.opts.Seed)+uint64(a.issued)))
	a.tokens[token] = grant{app: a.oauthApp, expires: now.Add(tokenLife)}
	return token, true
}

// scopeOf names the scope that reading an object type takes.
func scopeOf(t *table) string {
	switch {
	case t.custom != nil:
		return "crm.objects.custom.read"
	case t.object.Name == "tickets":
		return "tickets"
	}
	return "crm.objects." + t.object.Name + ".read"
}

func (a *auth) allowed(scope string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return !a.denied[scope]
}

// RevokeToken makes an access token invalid; "" all of them.
func (s *Simulator) RevokeToken(token string) {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	if token == "" {
		clear(s.auth.tokens)
	}
	delete(s.auth.tokens, token)
}

// AllowToken makes a token of the private app valid, as a rotation does.
func (s *Simulator) AllowToken(token string) {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	for _, g := range s.auth.tokens {
		if g.app.name == "private-1" {
			s.auth.tokens[token] = g
			return
		}
	}
	s.auth.tokens[token] = grant{app: &app{name: "private-1"}}
}

// RevokeRefreshToken ends the OAuth app's grant: no new access tokens.
func (s *Simulator) RevokeRefreshToken() {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.refresh = ""
}

// ExpireTokens ends all OAuth access tokens before their time; refreshing works.
func (s *Simulator) ExpireTokens() {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	for token, g := range s.auth.tokens {
		if g.app.oauth {
			delete(s.auth.tokens, token)
		}
	}
}

// ArchiveSchema takes a custom object type, by its internal name, out of the list of schemas, or puts it back: it disappears, or
// appears, while others look.
func (s *Simulator) ArchiveSchema(name string, archived bool) error {
	s.portal.mu.Lock()
	defer s.portal.mu.Unlock()
	for _, t := range s.portal.tables {
		if t.custom != nil && t.custom.Name == name {
			t.custom.Archived = archived
			return nil
		}
	}
	return fmt.Errorf("no custom object %q", name)
}

// DenyScope takes a scope (for example "crm.objects.deals.read") away from all tokens, or gives it back.
func (s *Simulator) DenyScope(scope string, denied bool) {
	s.auth.mu.Lock()
	defer s.auth.mu.Unlock()
	s.auth.denied[scope] = denied
}
