package connector

import (
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// What holds the log against the portal must itself be seen to find what is wrong.
func TestChaosJudgesStates(t *testing.T) {
	t.Parallel()
	at := func(s int) time.Time { return day.Add(time.Duration(s) * time.Second) }
	values := map[string]string{"email": "a@example.com"}
	hash, err := chaosHash(schemas.ContentHash(false, "", schemas.MakeProperties(values)))
	must(t, err)
	live := simulator.TruthRecord{ID: "1", Properties: values, UpdatedAt: at(1)}
	archived, merged, purged := live, live, live
	archived.Archived, merged.MergedInto, purged.Purged = true, "2", true
	has := func(s int, hash uint64, op schemas.Op) chaosState {
		return chaosState{modified: at(s).UnixMilli(), hash: hash, op: op, gone: op == schemas.OpArchived || op == schemas.OpMerged || op == schemas.OpPurged}
	}
	for name, test := range map[string]struct {
		truth simulator.TruthRecord
		has   chaosState
		known bool
		want  chaosOutcome
	}{
		"the same":             {live, has(1, hash, schemas.OpUpdated), true, chaosRight},
		"missing":              {live, chaosState{}, false, chaosLost},
		"older":                {live, has(0, hash, schemas.OpUpdated), true, chaosLost},
		"newer":                {live, has(2, hash, schemas.OpUpdated), true, chaosWrong},
		"other values":         {live, has(1, hash+1, schemas.OpUpdated), true, chaosWrong},
		"archived, is live":    {live, has(1, hash, schemas.OpArchived), true, chaosLost},
		"archived":             {archived, has(1, hash, schemas.OpArchived), true, chaosRight},
		"live, is archived":    {archived, has(1, hash, schemas.OpUpdated), true, chaosLost},
		"merged":               {merged, has(1, hash, schemas.OpMerged), true, chaosRight},
		"archived, was merged": {merged, has(1, hash, schemas.OpArchived), true, chaosWrong},
		"purged":               {purged, has(1, hash, schemas.OpPurged), true, chaosRight},
		"archived, was purged": {purged, has(1, hash, schemas.OpArchived), true, chaosWrong},
		"ended unheard of":     {purged, chaosState{}, false, chaosRight},
	} {
		equal(t, name, judgeState(test.truth, test.has, test.known), test.want)
	}
}

func TestChaosSeesDuplicatesDisorderAndFalseWatermarks(t *testing.T) {
	t.Parallel()
	b, ledger := setupLog(t), newChaosLedger()
	for id, modified := range map[string]time.Time{"1": day, "2": day.Add(time.Second), "3": day.Add(time.Hour)} {
		ledger.observe(simulator.Change{Object: "contacts", ID: id, At: day, UpdatedAt: modified, Bumped: true, Live: true})
	}
	l := b.open("a")
	mustAppend(t, l, polled(record(1, day)), nil)
	mustAppend(t, l, polled(record(1, day.Add(time.Second), "city", "Oslo")), nil)
	for _, seq := range []uint64{1, 3} { // the older event, then the newer one twice
		stream, err := b.js.Stream(t.Context(), jetlog.DefaultStream)
		must(t, err)
		m, err := stream.GetMsg(t.Context(), seq)
		must(t, err)
		for _, name := range []string{"Nats-Expected-Last-Subject-Sequence", "Nats-Batch-Id", "Nats-Batch-Sequence", "Nats-Batch-Commit"} {
			m.Header.Del(name)
		}
		for range seq { // 1 or 3 times
			_, err = b.js.PublishMsg(t.Context(), &nats.Msg{Subject: m.Subject, Header: m.Header, Data: m.Data})
			must(t, err)
		}
	}
	_, err := l.Append(t.Context(), polled(), func(c *schemas.Cursor) { c.CompleteThrough = day.Add(time.Minute) })
	must(t, err)

	log := newChaosLog(t, b.js, ledger)
	defer log.follow(t.Context())()
	eventually(t, "the watermark is read", func() bool {
		log.mu.Lock()
		defer log.mu.Unlock()
		return log.through[0] > 0
	})
	log.mu.Lock()
	defer log.mu.Unlock()
	equal(t, "duplicates", log.duplicates[chaosIDOf("contacts", "1")], 2)
	equal(t, "events out of order", len(log.disorder), 1)
	equal(t, "false claims", len(log.broken), 1) // record 2 is missing, record 3 not claimed
}

func TestChaosSeesTheLastSetOfLinksOfEveryRecord(t *testing.T) {
	t.Parallel()
	b := setupLog(t)
	contacts := b.open("a")
	want := chaosLinks{}
	for turn := range 3 { // more sets than one request to the log brings; the last hundreds change again and again
		var sets []*schemas.Links
		for id := range 1500 {
			if turn > 0 && id < 1100 {
				continue
			}
			links := []schemas.Link{{ID: strconv.Itoa(turn + 1), Category: "HUBSPOT_DEFINED", TypeID: 1}}
			set := &schemas.Links{Portal: contacts.portal, From: "contacts", ID: strconv.Itoa(id + 1), To: "companies", Links: links}
			sets = append(sets, set)
			want["contacts "+set.ID+" companies"] = chaosLinksText(links)
		}
		mustAppend(t, contacts, page{Origin: schemas.OriginPoll, Links: sets}, nil)
	}
	has, err := newChaosLog(t, b.js, newChaosLedger()).linksOf(t.Context())
	must(t, err)
	v := &chaosVerdict{}
	v.judgeLinks(has, want)
	equal(t, "sets that are not the last ones", v.failures(), 0)
}
