package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/schemas"
)

var webhookFlags = []cli.Flag{
	&cli.StringFlag{Name: "webhook-addr", Usage: "`ADDRESS` to receive HubSpot's webhooks at, behind a proxy that speaks TLS; without a host this machine only; none if absent", EnvVars: env("HUBTAIL_WEBHOOK_ADDR")},
	&cli.StringFlag{Name: "webhook-url", Usage: "`URL` that HubSpot calls, exactly as set in the app: it is part of what HubSpot signs", EnvVars: env("HUBTAIL_WEBHOOK_URL")},
	&cli.BoolFlag{Name: "webhook-v1", Usage: "also accept signatures of version 1, which do not protect against repetition, from deliveries without a better one", EnvVars: env("HUBTAIL_WEBHOOK_V1")},
}

func webhooksCommand() *cli.Command {
	return &cli.Command{
		Name:  "webhooks",
		Usage: "what to subscribe in HubSpot so that changes arrive at once, and whether something is missing",
		Description: "Prints the subscriptions for an app (HubSpot: Settings, Integrations, Private Apps, the app, Webhooks), from the portal's\n" +
			"own object types and properties. The app's client secret goes into HUBSPOT_CLIENT_SECRET, the URL it calls into --webhook-url.\n" +
			"--check says what polling found and no webhook told of within 3 minutes (exit code 3 then), of a source with a receiver\n" +
			"also that none came at all; what is missing shows some 6 minutes after the first. --listen is a receiver alone, of\n" +
			"which any number may run beside the sources.\n\n" +
			"Examples:\n  HUBSPOT_ACCESS_TOKEN=... hubtail webhooks --objects contacts,deals\n" +
			"  hubtail webhooks --check --nats-url nats://localhost:4222\n" +
			"  hubtail webhooks --listen --webhook-addr 0.0.0.0:8090 --webhook-url https://hooks.example.com/hubspot",
		Flags: flags(hubspotFlags, natsFlags, replicasFlag, objectFlags, webhookFlags, adminFlag,
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
			&cli.BoolFlag{Name: "check", Usage: "say what webhooks did not tell of, as the log of the source has it"},
			&cli.BoolFlag{Name: "listen", Usage: "receive webhooks until told to stop"}),
		Before: noArguments,
		Action: runWebhooks,
	}
}

func runWebhooks(c *cli.Context) error {
	switch {
	case c.Bool("check") && c.Bool("listen"):
		return usageError{errors.New("--check and --listen are two different things: give one of them")}
	case c.Bool("check"):
		return withParts(checkWebhooks)(c)
	case c.Bool("listen"):
		return longRunning(listenWebhooks)(c)
	}
	return withParts(listWebhooks)(c)
}

// listWebhooks prints what to subscribe.
func listWebhooks(c *cli.Context, p *parts) error {
	client, err := p.newClient()
	if err != nil {
		return err
	}
	list, err := connector.Subscriptions(c.Context, client, p.objects)
	if err != nil {
		return p.badObject(err)
	}
	if c.Bool("json") {
		return printJSON(c, list)
	}
	printSubscriptions(c.App.Writer, list, p.webhookURL)
	return nil
}

// printSubscriptions prints, for each object type, what to click.
func printSubscriptions(w io.Writer, list []connector.Subscription, url string) {
	if url == "" {
		url = "the address of your receiver (--webhook-url)"
	}
	total := len(list)
	printf(w, "HubSpot: Settings, Integrations, Private Apps, the app, Webhooks. Target URL: %s\n", url)
	for len(list) > 0 {
		object := list[0].Object
		n := slices.IndexFunc(list, func(s connector.Subscription) bool { return s.Object != object })
		if n < 0 {
			n = len(list)
		}
		var changes, properties []string
		for _, s := range list[:n] {
			if s.Property == "" {
				changes = append(changes, s.Type)
			} else {
				properties = append(properties, s.Property)
			}
		}
		prefix, _, _ := strings.Cut(list[0].Type, ".")
		printf(w, "\n%s (%s)\n  %s\n  %s.propertyChange of %d properties:\n", object, list[0].ObjectTypeID, strings.Join(changes, ", "), prefix, len(properties))
		printWrapped(w, properties, "    ", 116)
		list = list[n:]
	}
	printf(w, "\n%s subscriptions; an app can have %s. What is left out is found by polling, some seconds later.\n",
		thousands(int64(total)), thousands(connector.MaxSubscriptions))
}

// printWrapped prints a list in lines of a width.
func printWrapped(w io.Writer, items []string, indent string, width int) {
	line := indent
	for i, item := range items {
		if i < len(items)-1 {
			item += ", "
		}
		if line != indent && len(line)+len(item) > width {
			printf(w, "%s\n", strings.TrimRight(line, " "))
			line = indent
		}
		line += item
	}
	if line != indent {
		printf(w, "%s\n", line)
	}
}

// webhooksCheck is what `hubtail webhooks --check` reports of an object type.
type webhooksCheck struct {
	Portal string `json:"portal"`
	Object string `json:"object"`
	// Webhooks is nil if none came since the source started, and it has no receiver.
	Webhooks *schemas.Webhooks `json:"webhooks"`
}

// checkWebhooks prints what polling found and no webhook told of.
func checkWebhooks(c *cli.Context, p *parts) error {
	js, err := p.connectNATS(c.Context, false)
	if err != nil {
		return err
	}
	log, err := connector.ReadStatus(c.Context, js, p.stream, p.portal)
	if err != nil {
		return err
	}
	checks, missed := []webhooksCheck{}, int64(0)
	for _, o := range log.Objects {
		if o.Object == "owners" {
			continue
		}
		checks = append(checks, webhooksCheck{Portal: o.Portal, Object: o.Object, Webhooks: o.Cursor.Webhooks})
		if w := o.Cursor.Webhooks; w != nil {
			for _, n := range w.Missed {
				missed += n
			}
		}
	}
	if c.Bool("json") {
		if err := printJSON(c, checks); err != nil {
			return err
		}
	} else {
		printWebhooksCheck(c.App.Writer, checks)
	}
	if missed > 0 {
		return unhealthyError{fmt.Errorf("%d changes were found by polling and no webhook told of them: `hubtail webhooks` lists what to subscribe", missed)}
	}
	return nil
}

func printWebhooksCheck(w io.Writer, checks []webhooksCheck) {
	if len(checks) == 0 {
		printf(w, "the log has no object type yet: start a source\n")
		return
	}
	for _, check := range checks {
		printf(w, "%-14s %s\n", check.Object, check.text())
	}
	if slices.ContainsFunc(checks, func(k webhooksCheck) bool { return k.Webhooks != nil }) {
		return
	}
	printf(w, "\nThe source has no receiver, and none came by another one: changes are found by polling, within half\n"+
		"a minute, but a deletion for privacy is taken for any other: its values stay until `hubtail erase`.\n"+
		"To hear at once, subscribe what `hubtail webhooks` lists, and give the source --webhook-addr and\n"+
		"--webhook-url, or run `hubtail webhooks --listen` beside it.\n")
}

func (k webhooksCheck) text() string {
	w := k.Webhooks
	if w == nil {
		return "no webhook, and no receiver"
	}
	text := fmt.Sprintf("%s read since %s", thousands(w.Hints), w.Since.Format(time.DateTime))
	if w.Hints == 0 {
		text = "no webhook came since the source started at " + w.Since.Format(time.DateTime)
	}
	switch {
	case len(w.Missed) == 0 && w.Judged.IsZero():
		return text + "; too early to say what is missing, ask again in some minutes"
	case len(w.Missed) == 0 && w.Hints == 0:
		return text + ", and polling found no change until " + w.Judged.Format(time.DateTime)
	case len(w.Missed) == 0:
		return text + ", nothing missing until " + w.Judged.Format(time.DateTime)
	}
	text += ", not told of: " + counted(w.Missed)
	if len(w.Properties) > 0 {
		text += "; changed then: " + counted(w.Properties)
	}
	return text
}

// counted lists counts, the largest first, ten of them at most.
func counted(counts map[string]int64) string {
	names := slices.Sorted(maps.Keys(counts))
	slices.SortStableFunc(names, func(a, b string) int { return int(counts[b] - counts[a]) })
	var items []string
	for _, name := range names[:min(len(names), 10)] {
		items = append(items, fmt.Sprintf("%s %d", name, counts[name]))
	}
	return strings.Join(items, ", ")
}

// listenWebhooks is a receiver and nothing else.
func listenWebhooks(c *cli.Context, p *parts) error {
	if p.webhookAddr == "" {
		return usageError{errors.New("--listen needs --webhook-addr, for example 127.0.0.1:8090")}
	}
	if err := errors.Join(p.requireHubSpot(), p.requireWebhooks()); err != nil {
		return err
	}
	admin, err := p.startAdmin(c)
	if err != nil {
		return err
	}
	js, err := p.connectNATS(c.Context, false)
	if err != nil {
		return err
	}
	source, client, err := p.newSource(c.Context, js) // it is not run: it knows portal and object types
	if err != nil {
		return err
	}
	hooks, err := p.newWebhooks(source)
	if err != nil {
		return err
	}
	admin.watch(watched{nats: js.Conn(), client: client})
	return untilStopped(c.Context, hooks.run)
}

// requireWebhooks names what a receiver lacks.
func (o options) requireWebhooks() error {
	switch {
	case o.webhookAddr == "":
		return nil
	case o.hubspotClientSecret == "":
		return usageError{errors.New("--webhook-addr needs HUBSPOT_CLIENT_SECRET, which the app's webhooks are signed with")}
	case o.webhookURL == "":
		return usageError{errors.New("--webhook-addr needs --webhook-url, the address that HubSpot calls: it is part of what HubSpot signs")}
	}
	return nil
}

// webhooks is a receiver that listens. A nil one does nothing.
type webhooks struct {
	receiver *connector.Receiver
	listener net.Listener
}

// newWebhooks listens at --webhook-addr; without one it returns nil.
func (p *parts) newWebhooks(source *connector.Source) (*webhooks, error) {
	if p.webhookAddr == "" {
		return nil, nil
	}
	listener, err := net.Listen("tcp", listenAddr(p.webhookAddr))
	if err != nil {
		return nil, fmt.Errorf("listen at --webhook-addr: %w", err)
	}
	p.onClose("webhook listener", func() error {
		_ = listener.Close() // the server has closed it unless it never ran
		return nil
	})
	if p.webhookURL == "" { // of the demo, which calls it itself
		p.webhookURL = "http://" + listener.Addr().String() + "/hubspot"
	}
	receiver, err := source.NewReceiver(connector.ReceiverConfig{URL: p.webhookURL, Secret: p.hubspotClientSecret, AcceptV1: p.webhookV1})
	if err != nil {
		return nil, usageError{err}
	}
	return &webhooks{receiver: receiver, listener: listener}, nil
}

// run receives until ctx ends.
func (w *webhooks) run(ctx context.Context) error {
	if w == nil {
		return nil
	}
	return w.receiver.Serve(ctx, w.listener)
}

// listenAddr adds what an address leaves out: the host of this machine alone. A receiver must be opened to others on
// purpose.
func listenAddr(addr string) string {
	if !strings.Contains(addr, ":") {
		addr = ":" + addr
	}
	if strings.HasPrefix(addr, ":") {
		return "127.0.0.1" + addr
	}
	return addr
}

// runWith runs a source and the receiver beside it.
func (w *webhooks) runWith(ctx context.Context, source *connector.Source) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return source.Run(ctx) })
	group.Go(func() error { return w.run(ctx) })
	return group.Wait()
}
