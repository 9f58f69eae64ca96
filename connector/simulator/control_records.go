package simulator

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// change is the body of the control routes that change records.
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

// recordRoutes change records.
func (s *Simulator) recordRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /_control/ids/{object}", s.controlIDs)
	mux.HandleFunc("POST /_control/create", control(s.controlCreate))
	mux.HandleFunc("POST /_control/update", control(s.controlUpdate))
	mux.HandleFunc("POST /_control/archive", control(func(c change) (any, error) { return nil, s.Archive(c.Object, c.ID) }))
	mux.HandleFunc("POST /_control/restore", control(func(c change) (any, error) { return nil, s.Restore(c.Object, c.ID) }))
	mux.HandleFunc("POST /_control/purge", control(func(c change) (any, error) { return nil, s.Purge(c.Object, c.ID) }))
	mux.HandleFunc("POST /_control/merge", control(func(c change) (any, error) {
		id, err := s.Merge(c.Object, c.ID, c.Other)
		return map[string]any{"id": id}, err
	}))
	mux.HandleFunc("POST /_control/link", control(func(c change) (any, error) {
		return nil, s.Link(c.Object, c.ID, c.To, c.ToID, c.Types...)
	}))
	mux.HandleFunc("POST /_control/unlink", control(func(c change) (any, error) {
		return nil, s.Unlink(c.Object, c.ID, c.To, c.ToID)
	}))
}

func (s *Simulator) controlIDs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	from, _ := strconv.Atoi(q.Get("from")) // absent = 0
	n, _ := strconv.Atoi(q.Get("n"))
	answer(w, map[string]any{"ids": s.IDs(r.PathValue("object"), from, orDefault(n, 100), 1)}, nil)
}

// controlCreate adds one record with the given values, or n with made-up ones.
func (s *Simulator) controlCreate(c change) (any, error) {
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
}

// controlUpdate changes one record, silently if asked to, or many with one stamp: those named, or the first n.
func (s *Simulator) controlUpdate(c change) (any, error) {
	values, err := parseValues(c.Properties)
	switch {
	case err != nil:
		return nil, err
	case c.Silent:
		return nil, s.Recalculate(c.Object, c.ID, values)
	case c.ID != "":
		return nil, s.Update(c.Object, c.ID, values)
	case c.IDs == nil:
		c.IDs = s.IDs(c.Object, 0, c.N, 1)
	}
	at, err := s.UpdateMany(c.Object, c.IDs, values, c.At)
	return map[string]any{"updated": len(c.IDs), "at": at.UTC()}, err
}
