package simulator

import (
	"log/slog"
	"time"
)

// Options configures a simulated portal. The zero value is a portal without records that enforces HubSpot's limits for a
// private app on the Free or Starter tier.
type Options struct {
	Seed     int64  // decides all data and all chance; 0 = 1
	PortalID int64  // 0 = 4711
	TimeZone string // IANA name of the account's time zone, where the daily quota starts anew; "" = "US/Eastern"

	Token  string   // access token of the private app; "" = "pat-simulator"
	Tokens []string // tokens of further private apps; each has a burst window of its own, all share the daily and the search limit

	ClientID     string // of the OAuth app; "" = "client-simulator"
	ClientSecret string // of the OAuth app, and the key webhooks are signed with; "" = "simulator-secret"
	RefreshToken string // of the OAuth app; "" = "refresh-simulator"

	// How many records exist at the start. 0 = none.
	Contacts, Companies, Deals, Tickets, Calls, Owners int
	// Records is the same for any other standard object type, by plural name.
	Records       map[string]int
	CustomObjects []CustomObject

	Properties int  // contact property definitions in all; 0 = what the standard and the odd ones make (about 415), at most 2,000
	NoOddities bool // leave the hard custom properties out: only HubSpot's own remain

	BurstLimit      int           // requests of one private app per Interval; 0 = 100
	OAuthBurstLimit int           // the same for the OAuth app; 0 = 110
	SearchLimit     int           // searches of the account per SearchInterval; 0 = 5
	DailyLimit      int           // requests of the account's private apps per day; 0 = 250,000
	Interval        time.Duration // 0 = 10 s
	SearchInterval  time.Duration // 0 = 1 s
	SearchInBurst   bool          // searches count in the burst window too (HubSpot does not say for private apps)
	RetryAfter      bool          // send Retry-After with a 429
	NoPolicyName    bool          // leave policyName out of a search's 429, as HubSpot sometimes does

	// Latency is the time every answer takes; 0 = by kind as in Latencies, negative = none.
	Latency   time.Duration
	Latencies Latencies

	IndexLag   Lag
	StableTies bool // search returns rows of equal sort key in one order; normally it differs between requests

	MaxURL           int  // bytes of the request target before 414; 0 = 16 KiB
	AssociationPage  int  // associations of one record per page; 0 = 500
	AssociationBump  bool // linking bumps the last-modified time of both ends
	RestoreBump      bool // restoring bumps the last-modified time
	MergeIntoPrimary bool // a merge keeps the primary's id; normally the result has a third, new id
	NoRecordURL      bool // leave "url" out of records, as before October 2025
	MergedIDsMissing bool // a batch read does not find merged-away ids; normally it shows the winner, as a single read does
	Gzip             bool // compress answers for callers that accept it, as HubSpot does; costs both sides CPU
	SensitiveScope   bool // the token may read sensitive properties

	Webhooks Webhooks
	LiveMix  LiveMix

	// Observe is told of every change of a record, in order and before anybody can read it. It must not call the simulator.
	Observe func(Change)

	Now    func() time.Time // HubSpot's clock; nil = time.Now
	Logger *slog.Logger     // nil = discard
}

// Latencies are the times answers take by kind of request. A zero field means its default, a negative one none.
type Latencies struct {
	List        time.Duration // 0 = 120 ms; single reads too
	Search      time.Duration // 0 = 250 ms
	Batch       time.Duration // 0 = 200 ms
	BatchRecord time.Duration // per record of a batch read; 0 = 1 ms
	Association time.Duration // 0 = 80 ms
	Other       time.Duration // 0 = 50 ms
}

// Lag says how far the search index trails behind. Every change draws its own lag, so changes surface out of order.
type Lag struct {
	Off      bool          // the index is always current
	Min, Max time.Duration // the usual lag lies between; 0 = 1 s and 10 s
	Tail     float64       // share of changes that take longer, up to TailMax; 0 = 0.02, negative = none
	TailMax  time.Duration // 0 = 2 min

	Archives  bool    // archived records linger in the index too; normally they leave at once
	OldValues bool    // results show the indexed, older values; normally the current ones
	Flicker   float64 // chance that a row changed within the last TailMax is missing from an answer
}

// CustomObject is a custom object type with Count records.
type CustomObject struct {
	Name             string // internal name; may equal a standard one
	Singular, Plural string // labels; "" = from Name
	Count            int
	Archived         bool // the schema is archived: listed only with archived=true
}

// LiveMix weighs what Live does. The zero value means 75 parts updates, 15 creations, 1 bulk update and nothing else.
type LiveMix struct {
	Update, Create, Bulk, Archive, Restore, Merge, Purge, Link, Unlink, Recalculate int
}

// DemoOptions returns the sizes of the portal that the demo shows.
func DemoOptions() Options {
	return Options{Contacts: 31636, Companies: 2400, Deals: 1193, Tickets: 1800, Calls: 8100, Owners: 12}
}

func (o Options) withDefaults() Options {
	o.Seed = orDefault(o.Seed, 1)
	o.PortalID = orDefault(o.PortalID, 4711)
	o.TimeZone = orDefault(o.TimeZone, "US/Eastern")
	o.Token = orDefault(o.Token, "pat-simulator")
	o.ClientID = orDefault(o.ClientID, "client-simulator")
	o.ClientSecret = orDefault(o.ClientSecret, "simulator-secret")
	o.RefreshToken = orDefault(o.RefreshToken, "refresh-simulator")
	o.BurstLimit = orDefault(o.BurstLimit, 100)
	o.OAuthBurstLimit = orDefault(o.OAuthBurstLimit, 110)
	o.SearchLimit = orDefault(o.SearchLimit, 5)
	o.DailyLimit = orDefault(o.DailyLimit, 250_000)
	o.Interval = orDefault(o.Interval, 10*time.Second)
	o.SearchInterval = orDefault(o.SearchInterval, time.Second)
	o.MaxURL = orDefault(o.MaxURL, 16<<10)
	o.AssociationPage = min(orDefault(o.AssociationPage, 500), 500)
	o.Properties = min(o.Properties, 2000)
	o.Latencies = o.Latencies.withDefaults(o.Latency)
	o.IndexLag.Min = orDefault(o.IndexLag.Min, time.Second)
	o.IndexLag.Max = max(orDefault(o.IndexLag.Max, 10*time.Second), o.IndexLag.Min)
	o.IndexLag.Tail = orDefault(o.IndexLag.Tail, 0.02)
	o.IndexLag.TailMax = max(orDefault(o.IndexLag.TailMax, 2*time.Minute), o.IndexLag.Max)
	o.Webhooks = o.Webhooks.withDefaults()
	if o.LiveMix == (LiveMix{}) {
		o.LiveMix = LiveMix{Update: 75, Create: 15, Bulk: 1}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

func (l Latencies) withDefaults(all time.Duration) Latencies {
	if all != 0 {
		return Latencies{List: all, Search: all, Batch: all, BatchRecord: -1, Association: all, Other: all}
	}
	l.List = orDefault(l.List, 120*time.Millisecond)
	l.Search = orDefault(l.Search, 250*time.Millisecond)
	l.Batch = orDefault(l.Batch, 200*time.Millisecond)
	l.BatchRecord = orDefault(l.BatchRecord, time.Millisecond)
	l.Association = orDefault(l.Association, 80*time.Millisecond)
	l.Other = orDefault(l.Other, 50*time.Millisecond)
	return l
}

func orDefault[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
