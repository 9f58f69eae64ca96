package main

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector"
	"github.com/hubtail/hubtail/internal/history"
)

// pastStack is a stack whose log has some history, of contacts and deals.
type pastStack struct {
	*stack
	changed, archived, erased, untouched string // ids of contacts
	loaded                               uint64 // the log's end when all was read for the first time
	requests                             int    // to HubSpot, up to now
	sync                                 func()
}

// withoutDatabase takes away what the commands about the past do not need.
var withoutDatabase = []string{"DATABASE_URL=", "HUBSPOT_ACCESS_TOKEN=", "HUBTAIL_HUBSPOT_URL="}

func newPastStack(t *testing.T) *pastStack {
	t.Helper()
	portal := smallPortal()
	portal.Contacts, portal.Deals, portal.Companies, portal.Calls, portal.Tickets = 60, 5, 0, 0, 0
	portal.DailyLimit = 1_000_000_000 // so that every pass walks over the recycle bin
	s := &pastStack{stack: newStack(t, portal)}
	source := s.newSource([]string{"contacts", "deals"})
	s.sync = func() { t.Helper(); must(t, source.Sync(t.Context())) }
	ids := s.simulator.IDs("contacts", 5, 4, 1)
	s.changed, s.archived, s.erased, s.untouched = ids[0], ids[1], ids[2], ids[3]
	s.update(s.changed, "Ulm")
	must(t, source.Backfill(t.Context()))
	s.loaded = s.lastSeq()
	s.update(s.changed, "Bonn \x1b[2J\"quoted\"")
	must(t, s.simulator.Archive("contacts", s.archived))
	s.sync()
	s.update(s.changed, "Köln")
	s.sync()
	must(t, connector.Erase(t.Context(), connector.EraseConfig{JetStream: s.js, Portal: source.Portal(), Patience: time.Millisecond}, "contacts", s.erased))
	s.requests = s.simulator.Stats().Requests
	return s
}

func (s *pastStack) update(id, city string) {
	s.t.Helper()
	must(s.t, s.simulator.Update("contacts", id, map[string]string{"city": city}))
}

// asksNothing fails the test if HubSpot was asked.
func (s *pastStack) asksNothing() {
	s.t.Helper()
	if n := s.simulator.Stats().Requests; n != s.requests {
		s.t.Errorf("%d requests to HubSpot", n-s.requests)
	}
}

// says fails the test unless the text has every word.
func says(t testing.TB, text string, words ...string) {
	t.Helper()
	for _, word := range words {
		if !strings.Contains(text, word) {
			t.Errorf("it does not say %q:\n%s", word, text)
		}
	}
}

func TestHistoryAndDiffTellWhatHappened(t *testing.T) {
	t.Parallel()
	s := newPastStack(t)
	r := s.must(withoutDatabase, "history", "contact", s.changed)
	says(t, r.stdout, "snapshot", "by backfill", "updated", "by poll", `city  "Ulm" -> "Bonn \x1b[2J\"quoted\""`, `"quoted\"" -> "Köln"`)
	if strings.Contains(r.stdout, "\x1b") {
		t.Errorf("a value reaches the terminal as it is: %q", r.stdout)
	}
	r = s.must(withoutDatabase, "history", "--changed", "city", "0-1", s.changed)
	if n := strings.Count(r.stdout, "\n    "); n != 2 || strings.Contains(r.stdout, "lastmodifieddate") {
		t.Errorf("of city alone: %s", r.stdout)
	}
	r = s.must(withoutDatabase, "history", "--json", "contacts", s.changed)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var last history.Version
	if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || len(lines) != 3 {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	if city, _ := last.Properties.Get("city"); city != "Köln" || last.PreviousSeq == 0 || last.LoggedAt.IsZero() || last.UpdatedAt.IsZero() {
		t.Errorf("the last version is %+v", last)
	}
	says(t, s.must(withoutDatabase, "history", "contacts", s.erased).stdout, "erased for privacy", "purged")
	s.run(withoutDatabase, "history", "contacts", "4711").complaint(t, exitFailed, "never had", "hubtail explain contacts 4711")
	s.run(withoutDatabase, "history", "tickets", "1").complaint(t, exitUsage, "tickets", "contacts, deals")
	s.run(withoutDatabase, "history", "contacts").complaint(t, exitUsage, "hubtail history contacts")
	s.run(withoutDatabase, "history", "contacts", "x").complaint(t, exitUsage, "not a record id")

	from := strconv.FormatUint(s.loaded, 10)
	r = s.must(withoutDatabase, "diff", from, "now")
	says(t, r.stdout, "contacts "+s.changed+" changed", `city  "Ulm" -> "Köln"`, "contacts "+s.archived+" archived", "contacts "+s.erased+" erased",
		"1 changed, 1 archived, 1 erased", "from ")
	if strings.Contains(r.stdout, s.untouched) {
		t.Errorf("what did not change is listed: %s", r.stdout)
	}
	var d history.Diff
	if err := json.Unmarshal([]byte(s.must(withoutDatabase, "diff", "--json", "--changed", "city", from, "now", "contacts").stdout), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Records) != 1 || d.Records[0].ID != s.changed || d.Records[0].Events != 2 || len(d.Records[0].Changed) != 1 || d.Counts["archived"] != 0 {
		t.Errorf("of city alone: %+v", d)
	}
	r = s.must(withoutDatabase, "diff", "24h", "now")
	says(t, r.stdout, "contacts "+s.changed+" loaded", " loaded, 1 erased", "HubSpot had them before", "the log begins at ")
	if strings.Contains(r.stdout, "created") {
		t.Errorf("what the first load brought was created: %s", r.stdout)
	}
	if out := s.must(withoutDatabase, "diff", "now", "now").stdout; !strings.HasPrefix(out, "nothing changed") {
		t.Error(out)
	}
	s.run(withoutDatabase, "diff", "now").complaint(t, exitUsage, "two moments")
	s.run(withoutDatabase, "diff", "now", "1h").complaint(t, exitUsage, "is after")
	s.run(withoutDatabase, "diff", "soon", "now").complaint(t, exitUsage, "soon")
	s.run(withoutDatabase, "diff", from, "now", "tickets").complaint(t, exitUsage, "tickets")
	s.run([]string{"NATS_URL="}, "diff", "1h", "now").complaint(t, exitUsage, "NATS_URL")
	s.asksNothing()
}

func TestHistoryAndDiffSayWhatIsNoLongerKept(t *testing.T) {
	t.Parallel()
	portal := smallPortal()
	portal.Contacts, portal.Deals, portal.Companies, portal.Calls, portal.Tickets = 5, 0, 0, 0, 0
	s := newStack(t, portal)
	id := s.simulator.IDs("contacts", 1, 1, 1)[0]
	source := s.newSource([]string{"contacts"})
	const changes = 18
	for i := range changes + 1 {
		must(t, s.simulator.Update("contacts", id, map[string]string{"city": "Ort " + strconv.Itoa(i)}))
		must(t, source.Sync(t.Context()))
	}
	r := s.must(withoutDatabase, "history", "--changed", "city", "contacts", id)
	says(t, r.stdout, "no longer kept", `"Ort 17" -> "Ort 18"`)
	if strings.Contains(r.stdout, "Ort 1\"") {
		t.Errorf("what is gone is shown: %s", r.stdout)
	}
	line := s.run(withoutDatabase, "diff", "1", "now").complaint(t, exitFailed, "1 record", "contacts "+id, "on everything is kept", "hubtail diff ")
	advice := strings.Fields(line[strings.LastIndex(line, "hubtail diff ")+len("hubtail diff "):])
	says(t, s.must(withoutDatabase, append([]string{"diff"}, advice...)...).stdout, "1 changed", `"Ort 18"`)
}

func TestTailShowsWhatComesAndWhatCame(t *testing.T) {
	t.Parallel()
	s := newPastStack(t)
	s.env = append(s.env, withoutDatabase...)
	r := s.must(nil, "tail", "--from", "start", "--limit", "3", "--json", "contacts")
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	var first struct {
		Seq      uint64    `json:"seq"`
		LoggedAt time.Time `json:"logged_at"`
		Origin   string    `json:"origin"`
		Event    struct {
			Object, ID, Op string
			Properties     map[string]string
		} `json:"event"`
	}
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || len(lines) != 3 {
		t.Fatalf("%v: %s", err, r.stdout)
	}
	if first.Seq == 0 || first.LoggedAt.IsZero() || first.Origin != "backfill" || first.Event.Object != "contacts" || first.Event.Op != "snapshot" || first.Event.Properties["email"] == "" {
		t.Errorf("%+v", first)
	}
	r = s.must(nil, "tail", "--from", strconv.FormatUint(s.loaded+1, 10), "-n", "2", "--changed", "city")
	if strings.Count(r.stdout, "\n") != 2 || !strings.Contains(r.stdout, `city "Ulm" -> "Bonn`) || strings.Contains(r.stdout, "lastmodifieddate") {
		t.Errorf("of city alone: %s", r.stdout)
	}
	r = s.must(nil, "tail", "--from", "1h", "--op", "archived,purged", "--limit", "2")
	says(t, r.stdout, s.archived, s.erased)
	r = s.must(nil, "tail", "--from", strconv.FormatUint(first.Seq, 10), "--limit", "1", "--json")
	says(t, r.stdout, `{"seq":`+strconv.FormatUint(first.Seq, 10)+`,"logged_at":`)
	s.run(nil, "tail", "--from", strconv.FormatUint(s.lastSeq()+2, 10)).complaint(t, exitUsage, "the log ends at")
	s.run(nil, "tail", "--op", "exploded").complaint(t, exitUsage, "exploded")
	s.run(nil, "tail", "--from", "soon").complaint(t, exitUsage, "soon")
	s.run(nil, "tail", "tickets").complaint(t, exitUsage, "tickets")
	for _, command := range [][]string{{"tail", "--from", "start", "--limit", "1", "--changed", "citi,city", "contacts"}, {"diff", "--changed", "city,citi", "start", "now"}} {
		if r := s.must(nil, command...); strings.Count(r.stderr, "no such property") != 1 || !strings.Contains(r.stderr, "property=citi ") {
			t.Errorf("%v: %s", command, r.stderr)
		}
	}

	// Live, until it is told to stop.
	consumers := func() int {
		stream, err := s.js.Stream(t.Context(), "HUBSPOT")
		if err != nil {
			t.Fatal(err)
		}
		return stream.CachedInfo().State.Consumers
	}
	before := consumers()
	follower := s.start("tail", "--from", strconv.FormatUint(s.lastSeq()+1, 10), "--changed", "city", "contacts")
	s.eventually(time.Minute, "tail reads", func() bool { return consumers() > before }, follower)
	s.update(s.untouched, "Trier")
	s.sync()
	s.eventually(time.Minute, "the change is shown", func() bool { return strings.Contains(follower.output.String(), `-> "Trier"`) }, follower)
	if out := follower.output.String(); strings.Contains(out, "Ulm") {
		t.Errorf("it shows what was before: %s", out)
	}
	if code := follower.stop(t); code != exitDone {
		t.Errorf("it ends with %d: %s", code, follower.output.String())
	}
}

// TestTailEndsQuietlyWhenNobodyReadsItAnyLonger reads a little of what is more than a pipe holds.
func TestTailEndsQuietlyWhenNobodyReadsItAnyLonger(t *testing.T) {
	t.Parallel()
	s := newPastStack(t)
	cmd := exec.Command(os.Args[0], "tail", "--from", "start", "--json")
	cmd.Env = append(s.environ(), withoutDatabase...)
	cmd.SysProcAttr = dieWithParent()
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReaderSize(out, 16).ReadString('{'); err != nil {
		t.Fatal(line, err)
	}
	_ = out.Close()
	if err := cmd.Wait(); err != nil || stderr.String() != "" {
		t.Errorf("%v, %q", err, stderr.String())
	}
}
