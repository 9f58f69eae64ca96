package main

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/hubtail/hubtail/connector"
)

// options mirror the flags one to one.
type options struct {
	hubspotURL          string
	hubspotToken        string
	hubspotClientID     string
	hubspotClientSecret string
	hubspotRefreshToken string
	quotaShare          float64
	burstShare          float64 // 0 means all
	burstLimit          int

	natsURL   string
	natsCreds string
	stream    string
	replicas  int

	natsListen string // of the embedded server; "" means in memory only

	databaseURL string
	schema      string
	consumer    string

	portal       string
	objects      []string
	associations []string
	sweepTurn    time.Duration
	pollInterval time.Duration
	settleTime   time.Duration
	rereadTurn   time.Duration
	definitions  time.Duration // between two reads of them
	verifyEvery  time.Duration

	webhookAddr string // "" means no receiver
	webhookURL  string
	webhookV1   bool

	dataDir   string
	logLevel  string
	logFormat string
}

func env(names ...string) []string { return names }

var (
	hubspotFlags = []cli.Flag{
		&cli.StringFlag{Name: "hubspot-url", Usage: "address of the HubSpot API", Value: "https://api.hubapi.com", EnvVars: env("HUBTAIL_HUBSPOT_URL")},
		&cli.StringFlag{Name: "hubspot-token", Usage: "private app `TOKEN`; better in the environment than on a command line", EnvVars: env("HUBTAIL_HUBSPOT_TOKEN", "HUBSPOT_ACCESS_TOKEN", "HUBSPOT_API_KEY")},
		&cli.StringFlag{Name: "hubspot-client-id", Usage: "client id of an OAuth app", EnvVars: env("HUBTAIL_HUBSPOT_CLIENT_ID", "HUBSPOT_CLIENT_ID")},
		&cli.StringFlag{Name: "hubspot-client-secret", Usage: "client `SECRET` of the app (OAuth, webhook signatures)", EnvVars: env("HUBTAIL_HUBSPOT_CLIENT_SECRET", "HUBSPOT_CLIENT_SECRET")},
		&cli.StringFlag{Name: "hubspot-refresh-token", Usage: "OAuth refresh `TOKEN`, instead of a private app token", EnvVars: env("HUBTAIL_HUBSPOT_REFRESH_TOKEN", "HUBSPOT_REFRESH_TOKEN")},
		&cli.Float64Flag{Name: "quota-share", Usage: "share of the account's daily quota this source may use, and, if set, of the burst and search quotas; the rest is for other apps", Value: 0.9, EnvVars: env("HUBTAIL_QUOTA_SHARE")},
		&cli.IntFlag{Name: "burst-limit", Usage: "requests per 10 seconds until HubSpot's headers tell the real limit", Value: 100, EnvVars: env("HUBTAIL_BURST_LIMIT")},
	}
	natsFlags = []cli.Flag{
		&cli.StringFlag{Name: "nats-url", Usage: "NATS server `URL`, comma-separated for a cluster", EnvVars: env("HUBTAIL_NATS_URL", "NATS_URL")},
		&cli.StringFlag{Name: "nats-creds", Usage: "NATS credentials `FILE`", EnvVars: env("HUBTAIL_NATS_CREDS", "NATS_CREDS")},
		&cli.StringFlag{Name: "stream", Usage: "JetStream stream that holds the log", Value: "HUBSPOT", EnvVars: env("HUBTAIL_STREAM")},
	}
	replicasFlag  = &cli.IntFlag{Name: "replicas", Usage: "copies of the stream when it is created; 3 on a cluster", Value: 1, EnvVars: env("HUBTAIL_REPLICAS")}
	postgresFlags = []cli.Flag{
		&cli.StringFlag{Name: "database-url", Usage: "Postgres `URL` (or SUPABASE_URL and SUPABASE_DB_PASSWORD)", EnvVars: env("HUBTAIL_DATABASE_URL", "DATABASE_URL")},
		&cli.StringFlag{Name: "schema", Usage: "schema of the tables", Value: "hubspot", EnvVars: env("HUBTAIL_SCHEMA")},
	}
	consumerFlag = &cli.StringFlag{Name: "consumer", Usage: "durable consumer of the sink; the same name on every instance", Value: "hubtail-sink", EnvVars: env("HUBTAIL_CONSUMER")}
	portalFlag   = &cli.StringFlag{Name: "portal", Usage: "portal `ID`; learned from the token when absent", EnvVars: env("HUBTAIL_PORTAL")}
	objectFlags  = []cli.Flag{
		portalFlag,
		&cli.StringFlag{Name: "objects", Usage: "object types, comma-separated: names, type ids, p_<name> for custom ones, all for whatever the token may read", Value: defaultObjects, EnvVars: env("HUBTAIL_OBJECTS")},
	}
	linkFlags = []cli.Flag{
		&cli.StringFlag{Name: "associations", Usage: "pairs of object types whose links are read, both ways: contacts:companies,deals:contacts, or all that HubSpot has, or none", Value: "all", EnvVars: env("HUBTAIL_ASSOCIATIONS")},
		&cli.DurationFlag{Name: "sweep-turn", Usage: "time within which the links of all records are read again; 0 means as long as it takes with 2 % of the daily quota", EnvVars: env("HUBTAIL_SWEEP_TURN")},
	}
	pollFlag    = &cli.DurationFlag{Name: "poll-interval", Usage: "time between polls of a quiet object type; busy ones are polled more often", Value: 12 * time.Second, EnvVars: env("HUBTAIL_POLL_INTERVAL")}
	settleFlag  = &cli.DurationFlag{Name: "settle-time", Usage: "how long HubSpot's search index may lag; the watermark trails by it; learned unless given", EnvVars: env("HUBTAIL_SETTLE_TIME")}
	rereadFlags = []cli.Flag{
		&cli.DurationFlag{Name: "reread-turn", Usage: "time within which all records are read again, for calculated values, which change without a sign; 0 for never", Value: 24 * time.Hour, EnvVars: env("HUBTAIL_REREAD_TURN")},
		&cli.DurationFlag{Name: "definitions-interval", Usage: "time between two reads of properties, pipelines and owners; a fifth of it while records of the type change", Value: 5 * time.Minute, EnvVars: env("HUBTAIL_DEFINITIONS_INTERVAL")},
	}
	verifyFlag  = &cli.DurationFlag{Name: "verify-interval", Usage: "time between two comparisons of an object type in HubSpot with the log, which are repaired; 0 for none", Value: connector.DefaultVerifyInterval, EnvVars: env("HUBTAIL_VERIFY_INTERVAL")}
	dataDirFlag = &cli.StringFlag{Name: "data-dir", Usage: "directory of the embedded parts", Value: "hubtail-data", EnvVars: env("HUBTAIL_DATA_DIR")}
	logFlags    = []cli.Flag{
		&cli.StringFlag{Name: "log-level", Usage: "debug, info, warn or error", Value: "info", EnvVars: env("HUBTAIL_LOG_LEVEL")},
		&cli.StringFlag{Name: "log-format", Usage: "text or json", Value: "text", EnvVars: env("HUBTAIL_LOG_FORMAT")},
	}
)

const defaultObjects = "contacts,companies,deals,tickets,calls,owners"

// flags joins groups of flags and single ones.
func flags(groups ...any) []cli.Flag {
	var all []cli.Flag
	for _, g := range groups {
		switch g := g.(type) {
		case []cli.Flag:
			all = append(all, g...)
		case cli.Flag:
			all = append(all, g)
		}
	}
	return append(all, logFlags...)
}

// readOptions reads every flag the command has; the others keep their zero value.
func readOptions(c *cli.Context) (options, error) {
	o := options{
		hubspotURL:          c.String("hubspot-url"),
		hubspotToken:        strings.TrimSpace(c.String("hubspot-token")), // files of secrets end with a line break
		hubspotClientID:     c.String("hubspot-client-id"),
		hubspotClientSecret: strings.TrimSpace(c.String("hubspot-client-secret")),
		hubspotRefreshToken: strings.TrimSpace(c.String("hubspot-refresh-token")),
		quotaShare:          c.Float64("quota-share"),
		burstLimit:          c.Int("burst-limit"),
		natsURL:             c.String("nats-url"),
		natsCreds:           c.String("nats-creds"),
		stream:              c.String("stream"),
		replicas:            c.Int("replicas"),
		databaseURL:         c.String("database-url"),
		schema:              c.String("schema"),
		consumer:            c.String("consumer"),
		portal:              c.String("portal"),
		objects:             spelledAll(splitList(c.String("objects"))),
		associations:        spelledAll(splitList(c.String("associations"))),
		sweepTurn:           c.Duration("sweep-turn"),
		pollInterval:        c.Duration("poll-interval"),
		settleTime:          c.Duration("settle-time"),
		rereadTurn:          c.Duration("reread-turn"),
		definitions:         c.Duration("definitions-interval"),
		verifyEvery:         c.Duration("verify-interval"),
		webhookAddr:         c.String("webhook-addr"),
		webhookURL:          c.String("webhook-url"),
		webhookV1:           c.Bool("webhook-v1"),
		dataDir:             c.String("data-dir"),
		logLevel:            c.String("log-level"),
		logFormat:           c.String("log-format"),
	}
	if has(c, "database-url") && o.databaseURL == "" {
		url, err := supabaseURL(os.Getenv("SUPABASE_URL"), os.Getenv("SUPABASE_DB_PASSWORD"))
		if err != nil {
			return o, usageError{err}
		}
		o.databaseURL = url
	}
	if has(c, "quota-share") && (o.quotaShare <= 0 || o.quotaShare > 1) {
		return o, usageError{fmt.Errorf("--quota-share is %v; it must be above 0 and at most 1", o.quotaShare)}
	}
	if c.IsSet("quota-share") {
		o.burstShare = o.quotaShare
	}
	return o, nil
}

// requireSizes refuses numbers of a simulated portal that make no sense.
func requireSizes(c *cli.Context) error {
	for _, name := range []string{"contacts", "companies", "deals", "tickets", "calls"} {
		if n := c.Int(name); n < 0 {
			return usageError{fmt.Errorf("--%s is %d; it must be 0 or more", name, n)}
		}
	}
	for _, name := range []string{"quota", "daily-quota"} {
		if n := c.Int(name); has(c, name) && n <= 0 {
			return usageError{fmt.Errorf("--%s is %d; it must be above 0", name, n)}
		}
	}
	for _, name := range []string{"for", "index-lag"} {
		if d := c.Duration(name); d < 0 {
			return usageError{fmt.Errorf("--%s is %s; it must be 0 or more", name, d)}
		}
	}
	if rate := c.Float64("changes"); !(rate >= 0) || math.IsInf(rate, 0) {
		return usageError{fmt.Errorf("--changes is %v; it must be 0 or more", rate)}
	}
	return nil
}

func has(c *cli.Context, name string) bool {
	for _, f := range c.Command.Flags {
		for _, n := range f.Names() {
			if n == name {
				return true
			}
		}
	}
	return false
}

func splitList(s string) []string {
	var list []string
	for _, item := range strings.Split(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}

func joinList(items []string) string { return strings.Join(items, ",") }

// requireHubSpot, requireNATS and requireDatabase name what is missing and how to give it.

func (o options) requireHubSpot() error {
	if o.hubspotToken == "" && o.hubspotRefreshToken == "" {
		return usageError{errors.New("no HubSpot token: set HUBSPOT_ACCESS_TOKEN to a private app's token (HubSpot: Settings, Integrations, Private Apps)")}
	}
	if strings.ContainsFunc(o.hubspotToken, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return usageError{errors.New("the HubSpot token has a space, a line break or another character that no token has: copy it again")}
	}
	if o.hubspotRefreshToken != "" && (o.hubspotClientID == "" || o.hubspotClientSecret == "") {
		return usageError{errors.New("an OAuth refresh token needs HUBSPOT_CLIENT_ID and HUBSPOT_CLIENT_SECRET too")}
	}
	return nil
}

func (o options) requireNATS() error {
	if o.natsURL == "" {
		return usageError{errors.New("no NATS server: set NATS_URL, or run `hubtail nats` and use the URL it prints")}
	}
	return nil
}

func (o options) requireDatabase() error {
	if o.databaseURL != "" {
		return nil
	}
	project, password := os.Getenv("SUPABASE_URL") != "", os.Getenv("SUPABASE_DB_PASSWORD") != ""
	switch {
	case project && !password:
		return usageError{errors.New("no database: SUPABASE_URL is set, but SUPABASE_DB_PASSWORD is missing")}
	case password && !project:
		return usageError{errors.New("no database: SUPABASE_DB_PASSWORD is set, but SUPABASE_URL is missing")}
	}
	return usageError{errors.New("no database: set DATABASE_URL, or SUPABASE_URL and SUPABASE_DB_PASSWORD")}
}

// supabaseURL returns the direct connection of a Supabase project, "" if none is named.
func supabaseURL(project, password string) (string, error) {
	if project == "" || password == "" {
		return "", nil
	}
	u, err := url.Parse(project)
	if err != nil || u.Host == "" {
		return "", fmt.Errorf("SUPABASE_URL is %q; it should look like https://<project>.supabase.co", project)
	}
	return (&url.URL{
		Scheme:   "postgresql",
		User:     url.UserPassword("postgres", password),
		Host:     "db." + u.Hostname() + ":5432",
		Path:     "/postgres",
		RawQuery: "sslmode=require",
	}).String(), nil
}
