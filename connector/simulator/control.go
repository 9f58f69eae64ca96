package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// controlRoutes are the routes below /_control/. They need no token: the simulator is for tests.
func (s *Simulator) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /_control/truth", s.controlTruthCounts)
	mux.HandleFunc("GET /_control/truth/{object}", s.controlTruth)
	mux.HandleFunc("GET /_control/links/{object}/{id}/{to}", s.controlLinks)
	mux.HandleFunc("GET /_control/stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Stats(), nil) })
	mux.HandleFunc("DELETE /_control/stats", func(w http.ResponseWriter, _ *http.Request) { s.ResetStats(); answer(w, nil, nil) })
	mux.HandleFunc("GET /_control/index", s.controlIndex)
	mux.HandleFunc("POST /_control/index/flush", func(w http.ResponseWriter, _ *http.Request) { s.FlushIndex(); answer(w, nil, nil) })
	mux.HandleFunc("POST /_control/index/wait", s.controlIndexWait)
	mux.HandleFunc("GET /_control/clock", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]string{"now": s.Now().UTC().Format(time.RFC3339Nano)}, nil)
	})
	mux.HandleFunc("POST /_control/clock", control(func(r struct {
		Advance string `json:"advance"`
	}) (any, error) {
		d, err := time.ParseDuration(r.Advance)
		s.Advance(d)
		return nil, err
	}))
	mux.HandleFunc("POST /_control/faults", control(func(f Fault) (any, error) { s.Inject(f); return nil, nil }))
	mux.HandleFunc("DELETE /_control/faults", func(w http.ResponseWriter, _ *http.Request) { s.ClearFaults(); answer(w, nil, nil) })
	mux.HandleFunc("POST /_control/webhooks", control(func(w Webhooks) (any, error) { s.SetWebhooks(w); return nil, nil }))
	mux.HandleFunc("POST /_control/live", s.controlLive)
	s.recordRoutes(mux)
	s.accountRoutes(mux)
	return mux
}

// recordRoutes change records.
func (s *Simulator) recordRoutes(mux *http.ServeMux) {
	type change struct {
		Object     string                     `json:"object"`
		ID         string                     `json:"id"`
		IDs        []string                   `json:"ids"`
		N          int                        `json:"n"`
		Properties map[string]json.RawMessage `json:"properties"`
		Silent     bool                       `json:"silent"`
		At         time.Time                  `json:"at"`
		Other      string                     `json:"other"`
		To         string                     `json:"to"`
		ToID       string                     `json:"toId"`
		Types      []LinkType                 `json:"types"`
	}
	ids := func(c *change) []string {
		if c.IDs == nil && c.N > 0 {
			return s.IDs(c.Object, 0, c.N, 1)
		}
		return c.IDs
	}
	mux.HandleFunc("POST /_control/create", control(func(c change) (any, error) {
		if c.N > 0 {
			ids, err := s.CreateMany(c.Object, c.N)
			return map[string]any{"ids": ids}, err
		}
		values, err := parseValues(c.Properties)
		if err != nil {
			return nil, err
		}
		id, err := s.Create(c.Object, values)
		return map[string]any{"id": id}, err
	}))
	mux.HandleFunc("POST /_control/update", control(func(c change) (any, error) {
		values, err := parseValues(c.Properties)
		switch {
		case err != nil:
			return nil, err
		case c.Silent:
			return nil, s.Recalculate(c.Object, c.ID, values)
		case c.ID != "":
			return nil, s.Update(c.Object, c.ID, values)
		}
		list := ids(&c)
		at, err := s.UpdateMany(c.Object, list, values, c.At)
		return map[string]any{"updated": len(list), "at": at.UTC()}, err
	}))
	mux.HandleFunc("POST /_control/archive", control(func(c change) (any, error) { return nil, s.Archive(c.Object, c.ID) }))
	mux.HandleFunc("POST /_control/restore", control(func(c change) (any, error) { return nil, s.Restore(c.Object, c.ID) }))
	mux.HandleFunc("POST /_control/purge", control(func(c change) (any, error) { return nil, s.Purge(c.Object, c.ID) }))
	mux.HandleFunc("POST /_control/merge", control(func(c change) (any, error) {
		id, err := s.Merge(c.Object, c.ID, c.Other)
		return map[string]any{"id": id}, err
	}))
	mux.HandleFunc("POST /_control/link", control(func(c change) (any, error) { return nil, s.Link(c.Object, c.ID, c.To, c.ToID, c.Types...) }))
	mux.HandleFunc("POST /_control/unlink", control(func(c change) (any, error) { return nil, s.Unlink(c.Object, c.ID, c.To, c.ToID) }))
	mux.HandleFunc("GET /_control/ids/{object}", func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		from, _ := strconv.Atoi(q.Get("from"))
		n, _ := strconv.Atoi(q.Get("n"))
		answer(w, map[string]any{"ids": s.IDs(r.PathValue("object"), from, orDefault(n, 100), 1)}, nil)
	})
}

// accountRoutes change what is not a record.
func (s *Simulator) accountRoutes(mux *http.ServeMux) {
	type definition struct {
		Object string `json:"object"`
		Property
	}
	mux.HandleFunc("POST /_control/property", control(func(d definition) (any, error) { return nil, s.DefineProperty(d.Object, d.Property) }))
	mux.HandleFunc("GET /_control/property/{object}/{name}", func(w http.ResponseWriter, r *http.Request) {
		p, err := s.PropertyNamed(r.PathValue("object"), r.PathValue("name"))
		answer(w, p, err)
	})
	mux.HandleFunc("GET /_control/owners", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Owners(), nil) })
	mux.HandleFunc("POST /_control/owner", control(func(o Owner) (any, error) { s.SetOwner(o); return nil, nil }))
	mux.HandleFunc("GET /_control/pipelines/{object}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, s.Pipelines(r.PathValue("object")), nil)
	})
	type pipelines struct {
		Object    string     `json:"object"`
		Pipelines []Pipeline `json:"pipelines"`
	}
	mux.HandleFunc("POST /_control/pipelines", control(func(p pipelines) (any, error) { return nil, s.SetPipelines(p.Object, p.Pipelines) }))
	type access struct {
		Revoke        *string `json:"revoke"`
		Allow         string  `json:"allow"`
		Expire        bool    `json:"expire"`
		RevokeRefresh bool    `json:"revokeRefresh"`
		Deny          string  `json:"deny"`
		Permit        string  `json:"permit"`
	}
	mux.HandleFunc("POST /_control/access", control(func(a access) (any, error) {
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
	}))
	type spending struct {
		Token                  string
		Burst, Searches, Daily int
	}
	mux.HandleFunc("POST /_control/spend", control(func(r spending) (any, error) {
		s.Spend(r.Token, r.Burst, r.Searches, r.Daily)
		return nil, nil
	}))
}

// control makes a handler of a function on a JSON body.
func control[T any](do func(T) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var in T
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil && !errors.Is(err, io.EOF) {
			answer(w, nil, err)
			return
		}
		out, err := do(in)
		answer(w, out, err)
	}
}

// answer writes a result as JSON, or the error: 404 for what is not there, 400 otherwise.
func answer(w http.ResponseWriter, v any, err error) {
	status := http.StatusOK
	if err != nil {
		status, v = http.StatusBadRequest, map[string]string{"error": err.Error()}
		if errors.Is(err, ErrNotFound) {
			status = http.StatusNotFound
		}
	}
	if v == nil {
		v = struct{}{}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) // an error means that the caller left
}

func (s *Simulator) controlTruthCounts(w http.ResponseWriter, _ *http.Request) {
	answer(w, map[string]any{"objects": s.TruthCounts()}, nil)
}

// controlTruth streams all records of an object type at the moment of the request, a line each.
func (s *Simulator) controlTruth(w http.ResponseWriter, r *http.Request) {
	snap, ok := s.portal.snapshot(r.PathValue("object"))
	if !ok {
		answer(w, nil, ErrNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	var buf []byte
	for i := range snap.rows {
		if buf = snap.appendTruth(buf, snap.load(i)); len(buf) > 64<<10 || i == len(snap.rows)-1 {
			if _, err := w.Write(buf); err != nil {
				return
			}
			buf = buf[:0]
		}
	}
}

func (s *Simulator) controlLinks(w http.ResponseWriter, r *http.Request) {
	links, err := s.Links(r.PathValue("object"), r.PathValue("id"), r.PathValue("to"))
	type link struct {
		To    string     `json:"to"`
		Types []LinkType `json:"types"`
	}
	out := make([]link, len(links))
	for i, l := range links {
		out[i] = link{formatID(l.To), l.Types}
	}
	answer(w, map[string]any{"links": out}, err)
}

func (s *Simulator) controlIndex(w http.ResponseWriter, _ *http.Request) {
	pending, until := s.Indexing()
	answer(w, map[string]any{"pending": pending, "until": until.UTC()}, nil)
}

// controlIndexWait answers when search shows every change.
func (s *Simulator) controlIndexWait(w http.ResponseWriter, r *http.Request) {
	for {
		pending, _ := s.Indexing()
		if pending == 0 {
			answer(w, nil, nil)
			return
		}
		if !s.wait(r.Context(), 20*time.Millisecond) {
			return
		}
	}
}

// controlLive runs Live for as long as the request lasts, or for the given time.
func (s *Simulator) controlLive(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	rate, err := strconv.ParseFloat(q.Get("rate"), 64)
	if err != nil {
		answer(w, nil, err)
		return
	}
	ctx := r.Context()
	if d, err := time.ParseDuration(q.Get("for")); err == nil {
		limited, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		ctx = limited
	}
	answer(w, s.Live(ctx, rate), nil)
}
