package statuspage

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"sync"
	"time"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

//go:embed page.js
var pageJS string

// Config of a page.
type Config struct {
	// View is asked for what to show, at most once a second for all who look; nil is not allowed.
	View func(context.Context) *View
	// Loopback says that the listener is on loopback; Names are further names that it answers to.
	Loopback bool
	Names    []string
	Every    time.Duration // between two events; 0 means 2 s
	Viewers  int           // how many may look at once; 0 means 16
}

// Page serves the page at / and its events at /events.
type Page struct {
	cfg     Config
	viewers chan struct{}

	mu     sync.Mutex // guards all below
	view   *View
	viewed time.Time
}

// New returns a page.
func New(cfg Config) *Page {
	if cfg.Every <= 0 {
		cfg.Every = 2 * time.Second
	}
	if cfg.Viewers <= 0 {
		cfg.Viewers = 16
	}
	return &Page{cfg: cfg, viewers: make(chan struct{}, cfg.Viewers)}
}

// Register adds the page's paths.
func (p *Page) Register(mux *http.ServeMux) {
	mux.Handle("GET /{$}", p.Guard(http.HandlerFunc(p.page)))
	mux.Handle("GET /events", p.Guard(http.HandlerFunc(p.events)))
}

// Guard makes a handler answer to the listener's own names only, and has browsers be careful with what it says.
func (p *Page) Guard(next http.Handler) http.Handler {
	return onlyNames(p.cfg.Loopback, p.cfg.Names, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Cache-Control", "no-store")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("X-Frame-Options", "DENY")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		next.ServeHTTP(w, r)
	}))
}

// look returns a view that is at most a second old.
func (p *Page) look(ctx context.Context) *View {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.view == nil || time.Since(p.viewed) >= min(time.Second, p.cfg.Every) {
		p.view, p.viewed = p.cfg.View(ctx), time.Now()
	}
	return p.view
}

var templates = template.Must(template.New("page").Funcs(template.FuncMap{
	"lasted": lasted, "thousands": thousands, "short": short, "bytes": bytesText, "percent": percent,
	"ago":     func(v *View, at time.Time) string { return lasted(v.At.Sub(at)) },
	"until":   func(v *View, at time.Time) string { return lasted(at.Sub(v.At)) },
	"through": func(v *View, o *Object) time.Time { return v.through(*o) },
	"int64":   func(n int) int64 { return int64(n) },
	"count":   func(n uint64) string { return thousands(int64(n)) },
	"minus":   func(a, b time.Time) time.Duration { return a.Sub(b) },
}).Parse(pageHTML))

func (p *Page) page(w http.ResponseWriter, r *http.Request) {
	nonce := rand.Text()
	var body bytes.Buffer
	err := templates.ExecuteTemplate(&body, "page", map[string]any{
		"View": p.look(r.Context()), "Nonce": nonce, "CSS": template.CSS(pageCSS), "JS": template.JS(pageJS), // ours, embedded
	})
	if err != nil {
		http.Error(w, "the page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'nonce-"+nonce+"'; style-src 'nonce-"+nonce+"'; "+
		"connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(body.Bytes()) // whoever asked is gone then
}

// events sends what the page shows every so often, until whoever looks goes away or the listener ends.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	// A website may not read what comes, but could take all places of those who look.
	if site := r.Header.Get("Sec-Fetch-Site"); site == "cross-site" || site == "same-site" {
		http.Error(w, "only the status page itself is sent its events", http.StatusForbidden)
		return
	}
	select {
	case p.viewers <- struct{}{}:
		defer func() { <-p.viewers }()
	default:
		http.Error(w, "too many are looking already", http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	control := http.NewResponseController(w)
	tick := time.NewTicker(p.cfg.Every)
	defer tick.Stop()
	for {
		var body bytes.Buffer
		if err := templates.ExecuteTemplate(&body, "sections", p.look(r.Context())); err != nil {
			return
		}
		data, err := json.Marshal(body.String()) // one line, as an event's data must be
		if err != nil {
			return
		}
		_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second)) // the listener's is for short answers
		if _, err := w.Write(append(append([]byte("data: "), data...), "\n\n"...)); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}
