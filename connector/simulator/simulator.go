package simulator

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// Simulator is a HubSpot account behind HubSpot's API. Its methods do what people and programs do to an account; each is
// there over HTTP too, below /_control/.
type Simulator struct {
	opts   Options
	portal *portal
	limits *limits
	auth   *auth
	faults *faults
	stats  *stats
	hooks  *webhooks
	err    error // what was wrong with the options

	requests atomic.Uint64
	bodies   sync.Pool // of *[]byte: pages are large

	active sync.WaitGroup // requests being answered
	done   chan struct{}  // closed by Close: nobody waits any longer
	end    sync.Once

	mu      sync.Mutex // guards server
	server  *http.Server
	serving sync.WaitGroup
}

// New makes a portal. Options that make no sense (an unknown time zone or object type) are reported by Start and answered
// to every request.
func New(o Options) *Simulator {
	o = o.withDefaults()
	s := &Simulator{opts: o, auth: newAuth(o), faults: newFaults(o.Seed), stats: newStats(), done: make(chan struct{})}
	s.portal, s.err = newPortal(o)
	if s.err != nil {
		o.TimeZone, o.Records = "UTC", nil
		s.portal, _ = newPortal(o)
	}
	s.limits = newLimits(o, s.portal.zone)
	s.hooks = newWebhooks(s.portal, o)
	s.portal.emit = s.hooks.emit
	return s
}

// Handler returns the API and the control routes.
func (s *Simulator) Handler() http.Handler {
	control := s.controlRoutes()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case s.err != nil:
			http.Error(w, s.err.Error(), http.StatusInternalServerError)
		case len(r.URL.Path) > 10 && r.URL.Path[:10] == "/_control/":
			control.ServeHTTP(w, r)
		default:
			s.serveAPI(w, r)
		}
	})
}

// Start listens on addr ("127.0.0.1:0" picks a port) and returns the base URL. Close stops it.
func (s *Simulator) Start(addr string) (url string, err error) {
	if s.err != nil {
		return "", s.err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server != nil {
		return "", errors.Join(errors.New("simulator is started already"), l.Close())
	}
	server := &http.Server{Handler: s.Handler(), MaxHeaderBytes: 1 << 20, ReadHeaderTimeout: time.Minute}
	s.server = server
	s.serving.Go(func() {
		if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			s.opts.Logger.Error("serve", "error", err)
		}
	})
	return "http://" + l.Addr().String(), nil
}

// Close stops the server and the webhooks and returns when nothing of them runs any more. Requests in flight are cut.
func (s *Simulator) Close() error {
	s.mu.Lock()
	server := s.server
	s.server = nil
	s.mu.Unlock()
	var err error
	if server != nil {
		err = server.Close()
	}
	s.end.Do(func() { close(s.done) })
	s.serving.Wait()
	s.active.Wait()
	s.hooks.close()
	return err
}
