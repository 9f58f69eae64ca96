package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/internal/alerts"
	"github.com/hubtail/hubtail/schemas"
)

var (
	alertURLFlag = &cli.StringSliceFlag{Name: "alert-url", Usage: "`URL` to tell when something is wrong, and when it is over; repeatable, or comma-separated: telegram://, smtp://, slack://, generic+https://, ... (docs/metrics.md)", EnvVars: env("HUBTAIL_ALERT_URLS")}
	alertFlags   = []cli.Flag{
		alertURLFlag,
		&cli.DurationFlag{Name: "alert-after", Usage: "how long the breaker must be open, the sink waiting or behind, before it is told", Value: 5 * time.Minute, EnvVars: env("HUBTAIL_ALERT_AFTER")},
		&cli.Float64Flag{Name: "alert-quota", Usage: "share of the daily quota from which on it counts as nearly spent", Value: 0.9, EnvVars: env("HUBTAIL_ALERT_QUOTA")},
		&cli.Uint64Flag{Name: "alert-lag", Usage: "messages that the tables may be behind the log", Value: 10_000, EnvVars: env("HUBTAIL_ALERT_LAG")},
	}
)

func alertCommand() *cli.Command {
	test := &cli.Command{
		Name:  "test",
		Usage: "send a message to every --alert-url, and say which of them failed",
		Description: "Exit code 0 if all of them took it, 1 if one did not.\n\n" +
			"Example:\n  hubtail alert test --alert-url 'telegram://TOKEN@telegram?chats=ID'",
		Flags:  flags(alertURLFlag, &cli.BoolFlag{Name: "json", Usage: "print JSON"}),
		Before: noArguments,
		Action: runAlertTest,
	}
	return &cli.Command{
		Name:  "alert",
		Usage: "try the addresses that are told when something is wrong",
		Description: "up, source and sink tell of what is wrong where they are given --alert-url. docs/metrics.md says of what, and how the\n" +
			"addresses of Telegram, e-mail, Slack and webhooks look.\n\n" +
			"Example:\n  hubtail alert test --alert-url 'smtp://USER:PASSWORD@mail.example.org:587/?from=hubtail@example.org&to=ops@example.org'",
		Subcommands: []*cli.Command{test},
	}
}

// aURL is how an address begins: what a comma separates and does not begin so belongs to the address before it.
var aURL = regexp.MustCompile(`^[a-zA-Z][a-zA-Z0-9+.-]*://`)

// alertReceivers reads --alert-url.
func alertReceivers(c *cli.Context) ([]*alerts.Receiver, error) {
	var addresses []string
	for _, piece := range c.StringSlice("alert-url") {
		piece = strings.TrimSpace(piece)
		switch {
		case piece == "":
		case len(addresses) > 0 && !aURL.MatchString(piece):
			addresses[len(addresses)-1] += "," + piece
		default:
			addresses = append(addresses, piece)
		}
	}
	receivers, err := alerts.Parse(addresses)
	if err != nil {
		return nil, usageError{fmt.Errorf("--alert-url (HUBTAIL_ALERT_URLS): %w", err)}
	}
	return receivers, nil
}

// alertTest is what became of one address, and its JSON.
type alertTest struct {
	Receiver string `json:"receiver"`
	Error    string `json:"error,omitempty"`
}

func runAlertTest(c *cli.Context) error {
	receivers, err := alertReceivers(c)
	if err != nil {
		return err
	}
	if len(receivers) == 0 {
		return usageError{errors.New("no address: set --alert-url or HUBTAIL_ALERT_URLS")}
	}
	failed := 0
	tests := make([]alertTest, 0, len(receivers))
	for _, r := range receivers {
		test := alertTest{Receiver: r.Name}
		if err := r.Test(c.Context, ""); err != nil {
			failed++
			test.Error = err.Error()
		}
		tests = append(tests, test)
		if !c.Bool("json") {
			if test.Error == "" {
				printf(c.App.Writer, "ok      %s\n", r.Name)
			} else {
				printf(c.App.Writer, "FAILED  %s: %s\n", r.Name, test.Error)
			}
		}
	}
	if c.Bool("json") {
		if err := printJSON(c, tests); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d addresses did not take the message", failed, len(receivers))
	}
	return nil
}

// alertBucket opens the KV bucket with the incidents of a stream's processes.
func (p *parts) alertBucket(js jetstream.JetStream) func(context.Context) (jetstream.KeyValue, error) {
	name := schemas.EncodeToken(p.stream) + "_ALERTS"
	return func(ctx context.Context) (jetstream.KeyValue, error) {
		kv, err := js.KeyValue(ctx, name)
		if errors.Is(err, jetstream.ErrBucketNotFound) {
			kv, err = js.CreateKeyValue(ctx, jetstream.KeyValueConfig{
				Bucket: name, Description: "what alerts were told (hubtail)", History: 1, Replicas: max(p.replicas, 1),
			})
			if errors.Is(err, jetstream.ErrBucketExists) { // another process was faster
				kv, err = js.KeyValue(ctx, name)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("open KV bucket %s, which holds what alerts were told: %w", name, err)
		}
		return kv, nil
	}
}

// newWatcher returns who tells of what is wrong, nil if nobody is to be told.
func (m *monitor) newWatcher(c *cli.Context) (*alerts.Watcher, error) {
	receivers, err := alertReceivers(c)
	if err != nil || len(receivers) == 0 {
		return nil, err
	}
	limits := alertLimits{after: c.Duration("alert-after"), stale: m.stale, quota: c.Float64("alert-quota"), lag: c.Uint64("alert-lag")}
	if limits.quota <= 0 || limits.quota > 1 {
		return nil, usageError{fmt.Errorf("--alert-quota is %v; it must be above 0 and at most 1", limits.quota)}
	}
	js, err := jetstream.New(m.nats)
	if err != nil {
		return nil, err
	}
	name := "hubtail"
	if m.source != nil {
		name += " " + m.source.Portal()
	}
	return alerts.New(alerts.Config{
		Receivers: receivers, Keys: m.alertKeys(), Bucket: m.alertBucket(js), Name: name, Logger: m.log,
		Conditions: func(ctx context.Context) []alerts.Condition { return m.conditions(ctx, limits) },
	}), nil
}
