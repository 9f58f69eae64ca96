package simulator

import "net/http"

// accountRoutes show and change what is not a record.
func (s *Simulator) accountRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /_control/property/{object}/{name}", func(w http.ResponseWriter, r *http.Request) {
		p, err := s.PropertyNamed(r.PathValue("object"), r.PathValue("name"))
		answer(w, p, err)
	})
	mux.HandleFunc("GET /_control/owners", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Owners(), nil) })
	mux.HandleFunc("GET /_control/pipelines/{object}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Pipelines(r.PathValue("object")), nil)
	})
	mux.HandleFunc("POST /_control/property", control(func(d struct {
		Object string `json:"object"`
		Property
	}) (any, error) {
		return nil, s.DefineProperty(d.Object, d.Property)
	}))
	mux.HandleFunc("POST /_control/owner", control(func(o Owner) (any, error) { s.SetOwner(o); return nil, nil }))
	mux.HandleFunc("POST /_control/pipelines", control(func(p struct {
		Object    string     `json:"object"`
		Pipelines []Pipeline `json:"pipelines"`
	}) (any, error) {
		return nil, s.SetPipelines(p.Object, p.Pipelines)
	}))
	mux.HandleFunc("POST /_control/access", control(s.controlAccess))
	mux.HandleFunc("POST /_control/spend", control(func(r struct {
		Token                  string
		Burst, Searches, Daily int
	}) (any, error) {
		s.Spend(r.Token, r.Burst, r.Searches, r.Daily)
		return nil, nil
	}))
}

// access is a change of what tokens are good for.
type access struct {
	Revoke        *string `json:"revoke"` // a token; "" = all
	Allow         string  `json:"allow"`  // a token
	Expire        bool    `json:"expire"` // the OAuth access tokens
	RevokeRefresh bool    `json:"revokeRefresh"`
	Deny          string  `json:"deny"`   // a scope
	Permit        string  `json:"permit"` // a scope
}

func (s *Simulator) controlAccess(a access) (any, error) {
	if a.Revoke != nil {
		s.RevokeToken(*a.Revoke)
	}
	if a.Allow != "" {
		s.AllowToken(a.Allow)
	}
	if a.Expire {
		s.ExpireTokens()
	}
	if a.RevokeRefresh {
		s.RevokeRefreshToken()
	}
	if a.Deny != "" {
		s.DenyScope(a.Deny, true)
	}
	if a.Permit != "" {
		s.DenyScope(a.Permit, false)
	}
	return nil, nil
}
