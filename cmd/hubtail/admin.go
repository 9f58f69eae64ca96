package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/statuspage"
	"github.com/hubtail/hubtail/sink"
)

const (
	defaultAdminAddr = "127.0.0.1:8686"
	adminOff         = "off" // as a variable: one that is empty counts as not set
)

var adminFlag = &cli.StringFlag{Name: "admin-addr", Usage: "`ADDRESS` of the status page, /healthz, /readyz and /metrics; \"off\" for none", Value: defaultAdminAddr, EnvVars: env("HUBTAIL_ADMIN_ADDR")}

// adminAddr returns the address of the flag, "" if it is turned off.
func adminAddr(c *cli.Context) string {
	if addr := c.String("admin-addr"); addr != adminOff {
		return addr
	}
	return ""
}

// admin answers those who watch a process. It listens before the parts are there: a process that waits for NATS lives.
type admin struct {
	parts   atomic.Pointer[watched]
	monitor atomic.Pointer[monitor] // nil while the parts are not there
	waits   atomic.Pointer[string]  // what holds up the start; nil or "" if nothing does
	page    *statuspage.Page
	listens bool
}

func newAdmin(loopback bool, names []string) *admin {
	a := &admin{}
	a.page = statuspage.New(statuspage.Config{View: a.view, Loopback: loopback, Names: names})
	return a
}

// watched are the parts of a process that admin tells about; what it does not have is nil.
type watched struct {
	nats   *nats.Conn
	source *connector.Source
	client *hubspot.Client
	sink   *sink.Sink
	pool   *pgxpool.Pool
}

// startAdmin listens at --admin-addr until the parts are closed. Where that is in use, which it is when several processes
// share a machine and none was given an address of its own, there is a warning and no listener.
func (p *parts) startAdmin(c *cli.Context) (*admin, error) {
	addr := adminAddr(c)
	if addr == "" {
		return newAdmin(true, nil), nil
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		if c.IsSet("admin-addr") {
			return nil, fmt.Errorf("listen at --admin-addr for health checks and metrics: %w", err)
		}
		p.log.Warn("no health checks and metrics: give this process an --admin-addr of its own, or turn it off with --admin-addr off", "error", err)
		return newAdmin(true, nil), nil
	}
	bound, isTCP := listener.Addr().(*net.TCPAddr)
	a := newAdmin(isTCP && bound.IP.IsLoopback(), splitList(c.String("admin-hosts")))
	a.listens = true
	p.waiting = func(what string) { a.waits.Store(&what) }
	server := &http.Server{
		Handler:           a.routes(),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 5 * time.Second, WriteTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		MaxHeaderBytes: 16 << 10,
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	p.onClose("admin listener", func() error {
		err := server.Close()
		if served := <-done; !errors.Is(served, http.ErrServerClosed) {
			err = served
		}
		return err
	})
	p.log.Debug("health checks and metrics", "address", listener.Addr().String())
	return a, nil
}

// watch says what to tell about.
func (a *admin) watch(w watched) { a.parts.Store(&w) }

// monitored adds to what a process does that its page shows how it goes, and that --alert-url is told of what does not.
func (a *admin) monitored(c *cli.Context, p *parts, run func(context.Context) error) (func(context.Context) error, error) {
	m := newMonitor(p, *a.parts.Load(), c.Duration("stale"))
	watcher, err := m.newWatcher(c)
	if err != nil {
		return nil, err
	}
	a.monitor.Store(m)
	return func(running context.Context) error {
		group, ctx := errgroup.WithContext(running)
		watching, stop := context.WithCancel(ctx)
		group.Go(func() error { defer stop(); return run(ctx) })
		if a.listens {
			group.Go(func() error { m.run(watching); return nil })
		}
		if watcher != nil {
			group.Go(func() error { watcher.Run(watching); return nil })
		}
		err := group.Wait()
		if err != nil && watcher != nil && running.Err() == nil {
			watcher.Last(running, m.ended(err))
		}
		return err
	}, nil
}

func (a *admin) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if reasons := a.notReady(r.Context()); len(reasons) > 0 {
			answer(w, http.StatusServiceUnavailable, strings.Join(reasons, "\n")+"\n")
			return
		}
		answer(w, http.StatusOK, "ok\n")
	})
	a.page.Register(mux)
	mux.Handle("GET /api/status", a.page.Guard(http.HandlerFunc(a.apiStatus)))
	mux.Handle("GET /metrics", a.page.Guard(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", metricsType)
		var m metricsText
		m.process()
		if parts := a.parts.Load(); parts != nil {
			m.parts(parts)
		}
		if mon := a.monitor.Load(); mon != nil && mon.sink != nil {
			if s := mon.latest.Load(); s != nil { // whatever is away, the rest is told at once
				m.tables(s)
			}
		}
		_, _ = io.WriteString(w, m.String()) // whoever asked is gone then
	})))
	return mux
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text) // whoever asked is gone then
}

// starting says that the process starts, and what holds that up.
func (a *admin) starting() string {
	if what := a.waits.Load(); what != nil && *what != "" {
		return "starting: " + *what
	}
	return "starting"
}

// readyBound is how long NATS and Postgres may take to answer before a process does not count as ready.
const readyBound = 2 * time.Second

// notReady returns why the process cannot do its work now, nothing if it can.
func (a *admin) notReady(ctx context.Context) (reasons []string) {
	parts := a.parts.Load()
	if parts == nil {
		return []string{a.starting()}
	}
	ctx, cancel := context.WithTimeout(ctx, readyBound)
	defer cancel()
	database := make(chan error, 1) // asked at the same time: what hangs is blamed alone
	if parts.sink == nil {
		database <- nil
	} else {
		go func() { database <- parts.pool.Ping(ctx) }()
	}
	if err := parts.nats.FlushWithContext(ctx); err != nil {
		reasons = append(reasons, fmt.Sprintf("nats: %v", err))
	}
	if parts.source != nil {
		if leader, leads := parts.source.Leader(); !leads && leader.Instance == "" {
			reasons = append(reasons, "source: neither leads nor knows who does")
		}
	}
	if parts.sink != nil {
		if failing := parts.sink.Stats().Error; failing != "" {
			reasons = append(reasons, "sink: "+failing)
		}
	}
	if err := <-database; err != nil {
		reasons = append(reasons, fmt.Sprintf("database: %v", err))
	}
	return reasons
}
