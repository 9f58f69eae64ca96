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
	mux.HandleFunc("GET /_control/truth/{object}/links/{to}", s.controlTruthLinks)
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
