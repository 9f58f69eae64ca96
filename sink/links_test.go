package sink_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

func TestAPurgedRecordHasNoLinksFromEitherEnd(t *testing.T) {
	t.Parallel()
	b := setup(t)
	link := func(id string) schemas.Link { return schemas.Link{ID: id, Category: "HUBSPOT_DEFINED", TypeID: 1} }
	of := func(seq uint64, from, id, to string, set ...schemas.Link) sink.Message {
		return control(t, seq, &schemas.Links{Portal: portal, From: from, ID: id, To: to, Links: set})
	}
	b.apply(event("contacts", 1, 1, nil), event("contacts", 2, 2, nil), event("companies", 1, 3, nil),
		of(4, "contacts", "1", "companies", link("1")), of(5, "contacts", "2", "companies", link("1")),
		of(6, "companies", "1", "contacts", link("1"), link("2")), of(7, "companies", "1", "companies", link("1")))
	b.want("5", `select count(*) from hubspot.links`)
	purge := event("contacts", 1, 8, nil, op(schemas.OpPurged))
	b.apply(purge)
	have := `select string_agg(concat_ws(' ', from_object, from_id, to_object, to_id), ', ' order by 1, from_object, from_id, to_object) from hubspot.links`
	b.want("companies 1 companies 1, companies 1 contacts 2, contacts 2 companies 1", have)
	b.apply(of(4, "contacts", "1", "companies", link("1")), purge) // a replay
	b.want("companies 1 companies 1, companies 1 contacts 2, contacts 2 companies 1", have)
}

// TestSetsOfLinksInAnyOrderEndInTheNewest applies sets out of order, several times, in batches of any size, with labels and
// types that change.
func TestSetsOfLinksInAnyOrderEndInTheNewest(t *testing.T) {
	t.Parallel()
	b := setup(t)
	rng := rand.New(rand.NewPCG(7, 1))
	newest := map[string]*schemas.Links{}
	var all []sink.Message
	for seq := uint64(1); seq <= 300; seq++ {
		l := &schemas.Links{Portal: portal, From: "contacts", ID: strconv.Itoa(1 + rng.IntN(6)), To: []string{"companies", "deals"}[rng.IntN(2)]}
		for range rng.IntN(6) {
			l.Links = append(l.Links, schemas.Link{
				ID: strconv.Itoa(1 + rng.IntN(4)), Category: []string{"HUBSPOT_DEFINED", "USER_DEFINED"}[rng.IntN(2)], TypeID: 1 + rng.IntN(2),
				Label: []string{"", "Primary", "Owner"}[rng.IntN(3)],
			})
		}
		all = append(all, control(t, seq, l)) // also brings l into the form that is stored
		newest[l.ID+" "+l.To] = l
	}
	for range 2 {
		rng.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		for rest := all; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(20))
			b.apply(slices.Clone(rest[:n])...)
			rest = rest[n:]
		}
	}
	var want []string
	for key, l := range newest {
		for _, link := range l.Links {
			want = append(want, fmt.Sprint(key, " ", link.ID, " ", link.Category, " ", link.TypeID, " ", link.Label))
		}
	}
	slices.Sort(want)
	got := strings.Split(b.value(`select string_agg(concat_ws(' ', from_id, to_object, to_id, category, type_id, coalesce(label, '')), '|') from hubspot.links`), "|")
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestASetOfAHundredThousandLinksIsAppliedInSeconds(t *testing.T) {
	t.Parallel()
	b := setup(t)
	set := func(seq uint64, from, to int) sink.Message {
		l := &schemas.Links{Portal: portal, From: "companies", ID: "7", To: "contacts"}
		for i := from; i < to; i++ {
			l.Links = append(l.Links, schemas.Link{ID: strconv.Itoa(1_000_000_000 + i), Category: "HUBSPOT_DEFINED", TypeID: 280})
		}
		return control(t, seq, l)
	}
	for seq, step := range []struct {
		what     string
		from, to int
	}{{"all new", 0, 100_000}, {"one more, one less", 1, 100_001}, {"half of it", 1, 50_001}, {"none", 0, 0}} {
		message := set(uint64(seq+1), step.from, step.to)
		began := time.Now()
		b.apply(message)
		took := time.Since(began)
		t.Logf("%s: %s, %d KB", step.what, took.Round(time.Millisecond), len(message.Data)>>10)
		if took > 30*time.Second {
			t.Errorf("%s took %s", step.what, took)
		}
		b.want(strconv.Itoa(step.to-step.from), `select count(*) from hubspot.links where from_id = 7`)
	}
}
