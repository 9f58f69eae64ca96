package connector

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// secret is in every value of the record that is to be erased.
const secret = "mustermann-4711"

// setupErase is a log that has contact 1 in every place where something of a record can be, contact 2 that was merged into
// it, and contact 3 that is linked to it.
func setupErase(t *testing.T) (*logBundle, *objectLog, *eraser) {
	b := setupLog(t)
	l := b.open("ours")
	hints, err := openHints(t.Context(), b.js, jetlog.DefaultStream, 1, "7", slog.New(slog.DiscardHandler))
	must(t, err)
	mustAppend(t, l, polled(record(1, day, "v", secret+"-a"), record(2, day, "v", secret+"-b"), record(3, day, "v", "someone else's")), nil)
	mustAppend(t, l, polled(record(1, day.Add(time.Hour), "v", secret+"-c", mergedProperty, "2")), nil)
	mustAppend(t, l, page{Origin: schemas.OriginPoll, Primary: true, Rejected: []hubspot.RejectedRecord{
		{Reason: "id is missing", Raw: `{"properties":{"hs_object_id":"1","v":"` + secret + `-d"}}`},
		{Reason: "id is missing", Raw: `{"properties":{"hs_object_id":"11","v":"someone else's"}}`},
	}}, nil)
	dead := l.deadEntry("1", "cut", `{"id":"1","v":"`+secret+`-e"}`, day)
	msgs, err := encodeControls(dead.dead)
	must(t, err)
	_, err = b.js.PublishMsg(t.Context(), msgs[0])
	must(t, err)
	for _, to := range []string{"companies", "deals"} {
		mustAppend(t, l, page{Origin: schemas.OriginPoll, Links: []*schemas.Links{
			{Portal: "7", From: "contacts", ID: "1", To: to, Links: []schemas.Link{{ID: "5", Category: "USER_DEFINED", TypeID: 1, Label: secret + "-f"}}},
		}}, nil)
	}
	must(t, hints.publish(t.Context(),
		&schemas.Hint{Kind: schemas.HintPurge, Portal: "7", Object: "contacts", ID: "1", Cause: "contact.privacyDeletion"},
		&schemas.Hint{Kind: schemas.HintRecord, Portal: "7", Object: "contacts", ID: "1", Cause: "contact.propertyChange", Property: secret + "-g"},
		&schemas.Hint{Kind: schemas.HintLinks, Portal: "7", Object: "contacts", ID: "1", Cause: "contact.associationChange", Property: secret + "-h"},
		&schemas.Hint{Kind: schemas.HintRecord, Portal: "7", Object: "contacts", ID: "3", Cause: "contact.propertyChange"},
	))
	return b, l, b.eraser(hints)
}

func (b *logBundle) eraser(h *hints) *eraser {
	return &eraser{
		js: b.js, stream: jetlog.DefaultStream, hints: h.stream, portal: "7",
		now: func() time.Time { return day }, logger: slog.New(slog.DiscardHandler),
	}
}

// quoting returns the subjects of the messages in any stream that have a text anywhere.
func (b *logBundle) quoting(text string) (subjects []string) {
	b.t.Helper()
	for _, name := range []string{jetlog.DefaultStream, HintsStream(jetlog.DefaultStream)} {
		stream, err := b.js.Stream(b.t.Context(), name)
		must(b.t, err)
		state := stream.CachedInfo().State
		for seq := state.FirstSeq; seq <= state.LastSeq; seq++ {
			m, err := stream.GetMsg(b.t.Context(), seq)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			must(b.t, err)
			if strings.Contains(m.Subject+fmt.Sprint(m.Header)+string(m.Data), text) {
				subjects = append(subjects, m.Subject)
			}
		}
	}
	return subjects
}

// erased checks that nothing of contacts 1 and 2 is left but their purged events, and everything of the others.
func (b *logBundle) erased() {
	b.t.Helper()
	if left := b.quoting(secret); len(left) > 0 {
		b.t.Errorf("values of an erased record are in %v", left)
	}
	for _, id := range []string{"1", "2"} {
		events := b.events(id)
		if len(events) != 1 || events[0].Op != schemas.OpPurged || len(events[0].Properties.Map()) > 0 {
			b.t.Errorf("of %s the log has %+v", id, events)
		}
	}
	equal(b.t, "events of another record", len(b.events("3")), 1)
	equal(b.t, "dead letters of other records", b.count(schemas.KindDeadLetter), 1)
	equal(b.t, "sets of links", b.count(schemas.KindLinks), 0)
}

func TestAPrivacyDeletionLeavesNoValueInTheLog(t *testing.T) {
	t.Parallel()
	b, l, e := setupErase(t)
	if before := b.quoting(secret); len(before) != 10 { // of contact 2 two: as it was, and as it ended
		t.Errorf("%d messages have values before: %v", len(before), before)
	}
	must(t, e.erase(t.Context(), contacts, "1", l.forget))
	b.erased()
	equal(t, "hints about other records", len(b.quoting("hubspot-hints.7.contacts.3")), 1)
	last := b.messages()

	// Again, and about one that the log never had: a tombstone, so that it never gets in.
	must(t, e.erase(t.Context(), contacts, "1", l.forget))
	equal(t, "messages after erasing again", len(b.messages()), len(last))
	must(t, e.erase(t.Context(), contacts, "99", l.forget))
	equal(t, "op of one that was never seen", b.events("99")[0].Op, schemas.OpPurged)
}

func TestAnErasedRecordNeverComesBack(t *testing.T) {
	t.Parallel()
	b, l, e := setupErase(t)
	must(t, e.erase(t.Context(), contacts, "1", l.forget))
	for _, origin := range []schemas.Origin{schemas.OriginBackfill, schemas.OriginPoll, schemas.OriginWebhook, schemas.OriginVerify} {
		late := page{Origin: origin, Primary: true, After: l.Position(), Records: []hubspot.Record{
			record(1, day.Add(2*time.Hour), "v", secret+"-late"), record(2, day, "v", secret+"-late"),
		}, Rejected: []hubspot.RejectedRecord{{ID: "1", Reason: "cut", Raw: secret + "-late"}}, Links: []*schemas.Links{
			{Portal: "7", From: "contacts", ID: "1", To: "companies", Links: []schemas.Link{{ID: "5", Category: "USER_DEFINED", TypeID: 1, Label: secret}}},
		}, Endings: []ending{{ID: "2", Op: schemas.OpMerged, MergedInto: "1"}}}
		mustAppend(t, l, late, nil)
		b.erased()
	}
}

// TestACrashAtAnyStepOfAPrivacyDeletionIsMadeUpFor stops at every step in turn, as a process does that is killed, and has
// another one take the hint.
func TestACrashAtAnyStepOfAPrivacyDeletionIsMadeUpFor(t *testing.T) {
	t.Parallel()
	crash := errors.New("killed")
	steps := 0
	for stop := 1; ; stop++ {
		b, _, e := setupErase(t)
		at := ""
		n := 0
		e.reached = func(step string) error {
			if n++; n == stop {
				at = step
				return crash
			}
			return nil
		}
		err := e.erase(t.Context(), contacts, "1", nil)
		if err == nil {
			b.erased()
			break
		}
		if !errors.Is(err, crash) {
			t.Fatal(err)
		}
		equal(t, "hint about what is to be erased, after "+at, len(b.quoting("_purge.contacts.1")), 1)
		again := b.eraser(&hints{stream: e.hints})
		must(t, again.finish(t.Context(), contacts, []*schemas.Hint{{ID: "1"}, {ID: "2"}}, 0))
		b.erased()
		if t.Failed() {
			t.Fatalf("crash at step %d, %s", stop, at)
		}
		steps++
	}
	if t.Logf("%d steps", steps); steps < 20 {
		t.Errorf("%d steps, want more: is every one of them reported?", steps)
	}
}

func TestWhatComesIntoTheLogDuringAPrivacyDeletionIsErasedToo(t *testing.T) {
	t.Parallel()
	b, l, e := setupErase(t)
	written := 0
	e.reached = func(step string) error {
		// Another process, which has heard nothing of it, writes between the purge and the purged event.
		if step == "neighbours erased" && written < 3 {
			written++
			mustAppend(t, l, polled(record(1, day.Add(time.Duration(written)*time.Hour), "v", fmt.Sprint(secret, written))), nil)
		}
		return nil
	}
	must(t, e.erase(t.Context(), contacts, "1", nil))
	equal(t, "times written", written, 3)
	b.erased()
}

func TestAStreamThatForbidsDeletingIsPurgedAllTheSame(t *testing.T) {
	t.Parallel()
	b, l, e := setupErase(t)
	cfg := jetlog.StreamConfig(jetlog.DefaultStream, 1)
	cfg.DenyDelete = true
	_, err := b.js.UpdateStream(t.Context(), cfg)
	if err != nil { // the server may not take it back, but it takes it
		t.Fatal(err)
	}
	must(t, e.erase(t.Context(), contacts, "1", l.forget))
	b.erased()
}

func TestEraseByHandWithoutARunningSource(t *testing.T) {
	t.Parallel()
	b, l, _ := setupErase(t)
	mustAppend(t, l, polled(record(97, day)), nil)
	mustAppend(t, l, mergedEnd("97", "98"), nil)
	var told bytes.Buffer
	err := Erase(t.Context(), EraseConfig{
		JetStream: b.js, Portal: "7", Patience: time.Millisecond, Logger: slog.New(slog.NewTextHandler(&told, nil)),
	}, "contacts", "1", "97", "99")
	must(t, err)
	b.erased()
	for _, want := range []string{"id=97 merged_into=98", "never had this record; a mark keeps it out from now on\" component=erase object=contacts id=99"} {
		if !strings.Contains(told.String(), want) {
			t.Errorf("%q is not in what was told:\n%s", want, told.String())
		}
	}
	equal(t, "op of one that was never seen", b.events("99")[0].Op, schemas.OpPurged)
	equal(t, "intents left", len(b.quoting("._purge.")), 0)
	err = Erase(t.Context(), EraseConfig{JetStream: b.js, Portal: "7"}, "deals", "1")
	if !errors.Is(err, ErrNotInLog) || !strings.Contains(err.Error(), "contacts") {
		t.Errorf("got %v, want what the log has", err)
	}
}

func TestEraseByHandBesideARunningSource(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 30}, Config{Objects: []string{"contacts"}, PollInterval: 20 * time.Millisecond})
	stop := b.run(b.source)
	id := b.sim.IDs("contacts", 3, 1, 1)[0]
	eventually(t, "the contact is in the log", func() bool { return len(b.events(id)) > 0 })
	leader := b.follower("contacts").log.Cursor().Instance
	must(t, Erase(t.Context(), EraseConfig{JetStream: b.js, Portal: b.source.Portal(), Patience: 20 * time.Second}, "contacts", id))
	equal(t, "op", b.states("contacts")[id].Op, schemas.OpPurged)

	// HubSpot still has it, and changes it: it stays erased, while others go on.
	must(t, b.sim.Update("contacts", id, map[string]string{"city": "Ulm"}))
	other := b.sim.IDs("contacts", 4, 1, 1)[0]
	must(t, b.sim.Update("contacts", other, map[string]string{"city": "Ulm"}))
	b.sim.FlushIndex()
	eventually(t, "another contact's change is in the log", func() bool { return len(b.events(other)) > 1 })
	equal(t, "events", len(b.events(id)), 1)
	equal(t, "leader", b.follower("contacts").log.Cursor().Instance, leader)
	must(t, stop())
}

func TestASyncErasesWhatHintsSayWasDeletedForPrivacy(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Contacts: 10}, Config{Objects: []string{"contacts"}})
	b.sync()
	id := b.sim.IDs("contacts", 3, 1, 1)[0]
	must(t, b.sim.Purge("contacts", id))
	must(t, b.source.hints.publish(t.Context(), &schemas.Hint{Kind: schemas.HintPurge, Portal: b.source.Portal(), Object: "contacts", ID: id, Cause: "contact.privacyDeletion"}))
	b.sync()
	b.asInTruth("contacts")
	equal(t, "events", len(b.events(id)), 1)
	waiting, err := b.source.hints.waiting(t.Context())
	must(t, err)
	equal(t, "hints left", waiting, 0)
}

func TestAPrivacyDeletionByWebhookErasesTheContact(t *testing.T) {
	t.Parallel()
	b := setupWebhooks(t, byWebhookAlone(simulator.Options{Contacts: 20}), Config{Objects: []string{"contacts"}, Settle: 50 * time.Millisecond})
	b.sync()
	stop := b.follow()
	b.deliver(simulator.Webhooks{Duplicates: 0.5})
	ids := b.sim.IDs("contacts", 3, 2, 1)
	must(t, b.sim.Update("contacts", ids[0], map[string]string{"city": secret}))
	winner, err := b.sim.Merge("contacts", ids[1], ids[0])
	must(t, err)
	eventually(t, "the merge is in the log", func() bool { return b.mergedInto(ids[0]) == winner })
	must(t, b.sim.Purge("contacts", winner))
	b.waitDelivered()
	eventually(t, "it is erased", func() bool {
		states := b.states("contacts") // for a moment the log has nothing of it
		for _, id := range []string{winner, ids[0], ids[1]} {
			if e := states[id]; e == nil || e.Op != schemas.OpPurged {
				return false
			}
		}
		return len(b.quoting("._purge.")) == 0
	})
	equal(t, "messages that quote it", len(b.quoting(secret)), 0)

	// Hints that come late find it erased.
	for _, id := range []string{winner, ids[0], ids[1]} {
		must(t, b.hints.publish(t.Context(), &schemas.Hint{Kind: schemas.HintRecord, Portal: b.hints.portal, Object: "contacts", ID: id, Cause: "contact.propertyChange"}))
	}
	b.drained("contacts")
	must(t, stop())
	equal(t, "messages that quote it", len(b.quoting(secret)), 0)
	b.asInTruth("contacts")
}

func TestPrivacyDeletionsThatWaitForAnAnswerAreNoError(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&said, nil))
	var told undone
	for _, err := range []error{
		fmt.Errorf("look up stream: %w", nats.ErrNoResponders), fmt.Errorf("look up stream: %w", context.DeadlineExceeded),
		errors.Join(&jetstream.APIError{Code: 503, ErrorCode: 10008}), fmt.Errorf("read: %w", hubspot.ErrUnavailable),
	} {
		told.tell(logger, err)
	}
	if n := strings.Count(said.String(), "level="); n != 1 || !strings.Contains(said.String(), "level=WARN") {
		t.Errorf("%d lines, want a warning:\n%s", n, said.String())
	}
	told.tell(logger, errors.New("no right to purge"))
	if !strings.Contains(said.String(), "level=ERROR") {
		t.Errorf("what does not pass is no error:\n%s", said.String())
	}
}
