package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/localnats"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "the whole thing on this machine: a full sync, live changes, and a proof that the tables equal the source",
		Description: "A simulated HubSpot, NATS JetStream and Postgres, all private to this run and gone after it, and the same source\n" +
			"and sink as the commands of these names. Exit code 0 only if every row equals the source.\n" +
			"With a DATABASE_URL, in the environment too, it makes a database of its own on that server and drops it afterwards;\n" +
			"where it may not, or the server is down, it says so and starts a private one. DATABASE_URL= (empty) asks for that.\n\n" +
			"Example:\n  hubtail demo --for 1m --contacts 5000",
		Flags: flags(
			portalSizeFlags(),
			&cli.DurationFlag{Name: "for", Usage: "length of the live part; 0 means until Ctrl-C on a terminal", Value: 30 * time.Second},
			&cli.Float64Flag{Name: "changes", Usage: "changes per second in the live part", Value: 5},
			&cli.IntFlag{Name: "quota", Usage: "requests per 10 seconds that the simulated HubSpot grants", Value: 190},
			&cli.Int64Flag{Name: "seed", Usage: "seed of the simulated portal", Value: 1},
			&cli.BoolFlag{Name: "exit", Usage: "end after the verdict, even on a terminal"},
			&cli.StringFlag{Name: "database-url", Usage: "Postgres `URL`: a database of its server, made for this run and dropped, instead of a private server", EnvVars: env("HUBTAIL_DATABASE_URL", "DATABASE_URL")},
			&cli.StringFlag{Name: "data-dir", Usage: "keep log and database in this directory instead of a temporary one"},
		),
		Before: noArguments,
		Action: runDemo,
	}
}

// demoToken is what the simulated HubSpot accepts.
const demoToken = "pat-demo"

// demoSecret is what it signs its webhooks with.
const demoSecret = "demo-secret"

// demo is one run: its parts and where it writes.
type demo struct {
	*parts
	out       io.Writer
	terminal  bool
	live      time.Duration
	changes   float64
	exit      bool
	simulator *simulator.Simulator
	loading   time.Time // when the source started
	progress  progress
	own       string          // name of the run's database
	unread    <-chan struct{} // closed when nobody reads the output any longer
}

func runDemo(c *cli.Context) error {
	defer limitMemoryWithNATS(c.Context)()
	d, err := newDemo(c)
	if err != nil {
		return err
	}
	defer d.close()
	return d.run(c.Context)
}

func newDemo(c *cli.Context) (*demo, error) {
	if err := requireSizes(c); err != nil {
		return nil, err
	}
	o := options{
		stream: "HUBSPOT", replicas: 1, schema: "hubspot", consumer: "hubtail-sink", quotaShare: 1, burstLimit: c.Int("quota"),
		objects: splitList(defaultObjects), pollInterval: 3 * time.Second, settleTime: 12 * time.Second,
		databaseURL: c.String("database-url"), dataDir: c.String("data-dir"), logLevel: c.String("log-level"), logFormat: c.String("log-format"),
	}
	if !c.IsSet("log-level") {
		o.logLevel = "warn" // the screen belongs to the progress
	}
	p, err := newParts(o)
	if err != nil {
		return nil, err
	}
	terminal := term.IsTerminal(int(os.Stdout.Fd()))
	out := newReadWriter(c.App.Writer)
	d := &demo{
		parts: p, out: out, unread: out.unread, terminal: terminal,
		live: c.Duration("for"), changes: c.Float64("changes"), exit: c.Bool("exit") || !terminal,
		progress: progress{w: out, terminal: terminal, width: stdoutWidth},
		own:      fmt.Sprintf("hubtail_demo_%d", os.Getpid()),
	}
	if d.live == 0 && !terminal {
		return nil, usageError{errors.New("--for 0 lasts until Ctrl-C and needs a terminal")}
	}
	size := portalSize(c)
	size.BurstLimit = c.Int("quota")
	size.Token, size.ClientSecret = demoToken, demoSecret
	size.IndexLag = simulator.Lag{Min: 500 * time.Millisecond, Max: 5 * time.Second, Tail: -1}
	d.simulator = simulator.New(size)
	return d, nil
}

// run runs the demo, and ends it when whoever reads the output goes away, as `| head` does.
func (d *demo) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		select {
		case <-d.unread:
			stop()
		case <-ctx.Done():
		}
	}()
	err := d.runParts(ctx)
	stop()
	<-watched
	select {
	case <-d.unread:
		return errors.New("nobody reads the output any longer; the demo ended before the verdict")
	default:
		return err
	}
}

func (d *demo) runParts(ctx context.Context) error {
	if err := d.startParts(ctx); err != nil {
		if ctx.Err() != nil {
			return ctx.Err() // what a part says that was stopped while it started is no news
		}
		return err
	}
	js, err := d.connectNATS(ctx, false)
	if err != nil {
		return err
	}
	source, client, err := d.newSource(ctx, js)
	if err != nil {
		return err
	}
	s, pool, err := d.newSink(ctx, js)
	if err != nil {
		return err
	}
	hooks, err := d.newWebhooks(source)
	if err != nil {
		return err
	}
	// How long HubSpot takes to tell is not published; this is what hubtail adds to.
	d.simulator.SetWebhooks(simulator.Webhooks{URL: d.webhookURL, Delay: 100 * time.Millisecond, Jitter: 300 * time.Millisecond})
	d.loading = time.Now()
	v := &viewer{demo: d, source: source, client: client, sink: s, js: js, pool: pool}
	running, stop := context.WithCancel(ctx)
	group, running := errgroup.WithContext(running)
	group.Go(func() error { return hooks.runWith(running, source) })
	group.Go(func() error { return s.Run(running) })
	group.Go(func() error {
		defer stop() // the demo is over: source and sink stop, too
		return v.watch(running)
	})
	return untilStopped(ctx, func(context.Context) error { return group.Wait() })
}

// startParts starts the simulated HubSpot, NATS and Postgres and says where they listen.
func (d *demo) startParts(ctx context.Context) error {
	d.announce()
	dir := d.dataDir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "hubtail-demo-"); err != nil {
			return err
		}
		d.onClose("temporary directory", func() error { return os.RemoveAll(dir) })
	}
	// The parts' own folders are closed; this one lets through the account that Postgres runs as when we are root.
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return usageError{fmt.Errorf("%s is not empty: the simulated HubSpot begins anew every time, so its log must, too", dir)}
	}
	if d.hubspotURL, err = d.simulator.Start("127.0.0.1:0"); err != nil {
		return fmt.Errorf("start the simulated HubSpot: %w", err)
	}
	d.onClose("simulated HubSpot", d.simulator.Close)
	d.hubspotToken = demoToken
	d.webhookAddr, d.hubspotClientSecret = "127.0.0.1:0", demoSecret

	server, err := localnats.Start(localnats.Options{StoreDir: filepath.Join(dir, "nats"), Listen: "127.0.0.1:0", Logger: d.log})
	if err != nil {
		return fmt.Errorf("start NATS: %w", err)
	}
	d.onClose("NATS", server.Close)
	d.natsURL = server.URL()

	postgres, address, err := d.startPostgres(ctx)
	if err != nil {
		return err
	}
	printf(d.out, "  HubSpot    %s (simulated)\n  NATS       %s      nats -s %s sub 'hubspot.*.contacts.>'\n  Postgres   %s\n             psql '%s'\n\n",
		d.hubspotURL, d.natsURL, d.natsURL, postgres, address)
	return nil
}
