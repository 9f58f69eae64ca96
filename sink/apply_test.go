package sink_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/internal/pgtest"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

func TestEventsBecomeTypedRows(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := setupOn(t, url)
		b.apply(
			definitions(t, "contacts", 1, "email", "string", "age", "number", "optin", "bool", "birthday", "date", "seen", "datetime"),
			event("contacts", 7, 2, props{
				"email": "ann@example.com 🎉", "age": "41.50", "optin": "true", "birthday": "1984-02-29", "seen": "2026-02-25T16:23:49.023Z",
			}),
			event("contacts", 8, 3, props{"age": "1,234", "birthday": "2023-02-29", "seen": "1600000000000.0", "email": "a\x00b"}),
		)
		b.want("ann@example.com 🎉", `select email from hubspot.contacts where id = 7`)
		b.want("41.50", `select age from hubspot.contacts where id = 7`)
		b.want("true", `select optin from hubspot.contacts where id = 7`)
		b.want("1984-02-29", `select birthday from hubspot.contacts where id = 7`)
		b.want("2026-02-25 16:23:49.023", `select seen at time zone 'UTC' from hubspot.contacts where id = 7`)
		b.want("null", `select _extra from hubspot.contacts where id = 7`)
		b.want("2", `select _seq from hubspot.contacts where id = 7`)
		b.want("2020-09-13 12:26:40", `select seen at time zone 'UTC' from hubspot.contacts where id = 8`)
		b.want(`{"age": "1,234", "email": {"json": "\"a\\u0000b\""}, "birthday": "2023-02-29"}`, `select _extra from hubspot.contacts where id = 8`)
		b.want("3", `select seq from hubspot.positions`)
		b.want("Label of email", `select col_description('hubspot.contacts'::regclass, attnum) from pg_attribute where attrelid = 'hubspot.contacts'::regclass and attname = 'email'`)
		b.want("0", `select count(*) from hubspot.dead_letters`)
	})
}

func TestOlderAndRepeatedEventsChangeNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string"))
	newest := event("contacts", 7, 9, props{"email": "new@x"})
	b.apply(newest)
	row := b.value(`select xmin::text || ' ' || ctid::text from hubspot.contacts`)
	b.apply(event("contacts", 7, 5, props{"email": "old@x"}))
	b.apply(newest)
	b.apply(newest, event("contacts", 7, 6, props{"email": "old@x"}))
	b.want("new@x", `select email from hubspot.contacts`)
	b.want(row, `select xmin::text || ' ' || ctid::text from hubspot.contacts`)
}

func TestOfOneRecordsEventsInABatchTheNewestCounts(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string", "name", "string"))
	b.apply(event("contacts", 7, 4, props{"email": "c@x"}), event("contacts", 7, 2, props{"email": "a@x", "name": "n"}), event("contacts", 7, 3, props{"name": "m"}))
	b.want("4 c@x ", `select concat(_seq, ' ', email, ' ', name) from hubspot.contacts`)
}

func TestAClearedValueBecomesNull(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string", "age", "number"))
	b.apply(event("contacts", 7, 2, props{"email": "a@x", "age": "1", "unknown": "u"}))
	// The event in between, which cleared age, never comes: the state counts, not the change.
	b.apply(event("contacts", 7, 9, props{"email": "a@x"}, func(e *schemas.Event) { e.PreviousSeq = 5 }))
	b.want("null", `select age from hubspot.contacts`)
	b.want("null", `select _extra from hubspot.contacts`)
}

func TestStatesOfARecord(t *testing.T) {
	t.Parallel()
	b := setup(t)
	state := `select concat_ws(' ', _archived, _purged, coalesce(_merged_into::text, '-'), coalesce(email, '-'), _archived_at is not null) from hubspot.contacts`
	b.apply(definitions(t, "contacts", 1, "email", "string"), event("contacts", 7, 2, props{"email": "a@x"}, op(schemas.OpCreated)))
	b.want("f f - a@x f", state)
	b.apply(event("contacts", 7, 3, props{"email": "a@x"}, op(schemas.OpArchived)))
	b.want("t f - a@x t", state)
	b.apply(event("contacts", 7, 4, props{"email": "a@x"}, op(schemas.OpRestored)))
	b.want("f f - a@x f", state)
	b.apply(event("contacts", 7, 5, props{"email": "a@x"}, op(schemas.OpMerged), func(e *schemas.Event) { e.MergedInto = "8" }))
	b.want("t f 8 a@x t", state)
}

func TestAPurgedRecordLeavesATombstone(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string"), event("contacts", 7, 2, props{"email": "a@x", "other": "o"}))
	b.apply(event("contacts", 7, 5, nil, op(schemas.OpPurged)))
	b.apply(event("contacts", 7, 3, props{"email": "a@x"}))
	b.want("7 5 t t", `select concat_ws(' ', id, _seq, _archived, _purged, email, _extra, _created_at, _merged_into) from hubspot.contacts`)
}

func TestValuesWaitInExtraUntilDefinitionsCome(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(event("p_cars", 7, 2, props{"plate": "B-X 1", "wheels": "4", "odd": "four"}))
	b.want(`{"odd": "four", "plate": "B-X 1", "wheels": "4"}`, `select _extra from hubspot.p_cars`)
	b.apply(definitions(t, "p_cars", 3, "plate", "string", "wheels", "number", "odd", "number"))
	b.want("B-X 1 4", `select concat(plate, ' ', wheels) from hubspot.p_cars`)
	b.want(`{"odd": "four"}`, `select _extra from hubspot.p_cars`)
	b.want("2", `select _seq from hubspot.p_cars`)
}

func TestEveryValueLandsLossless(t *testing.T) {
	t.Parallel()
	b := setup(t)
	huge := strings.Repeat("ü🎉x", 100_000)
	b.apply(definitions(t, "contacts", 1, "s", "string", "n", "number", "d", "date", "t", "datetime", "b", "bool", "big", "string", "nul", "string", "half", "string"))
	values := props{"s": "línea\r\n\t\u200d👩‍👩‍👧", "n": "1e400", "d": "31/12/2020", "t": "tomorrow", "b": "maybe", "big": huge, "nul": "\x00", "half": "\xed\xa0\xbd", "gone": "x"}
	b.apply(event("contacts", 7, 2, values))
	b.want(values["s"], `select s from hubspot.contacts`)
	b.want("1"+strings.Repeat("0", 400), `select n from hubspot.contacts`)
	b.want(huge, `select big from hubspot.contacts`)
	b.want(`{"b": "maybe", "d": "31/12/2020", "t": "tomorrow", "nul": {"json": "\"\\u0000\""}, "gone": "x", "half": {"json": "\"\\ud83d\""}}`, `select _extra from hubspot.contacts`)
	b.want("0", `select count(*) from hubspot.dead_letters`)
}

func TestARowHoldsAsManyShortValuesAsFit(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := setupOn(t, url)
		d := &schemas.PropertyDefinitions{Portal: portal, Object: "contacts"}
		values := map[string]props{"short": {}, "small": {}, "long": {}, "numbers": {}}
		for i := range 1_599 {
			name := fmt.Sprintf("p%04d", i)
			typ := "string"
			if i%2 == 1 {
				typ = "number"
			}
			d.Properties = append(d.Properties, schemas.Property{Name: name, Type: typ})
			values["short"][name] = strconv.Itoa(1_000_000 + i)
			values["small"][name] = strconv.Itoa(i % 10)
			values["long"][name] = strings.Repeat(strconv.Itoa(i%10), 25)
			values["numbers"][name] = strconv.Itoa(i) + ".0000000000000000000000000000000000001"
		}
		b.apply(control(t, 1, d))
		b.want("1500", `select max(attnum) from pg_attribute where attrelid = 'hubspot.contacts'::regclass`)
		b.want("109", `select count(*) from hubspot.properties where column_name is null`)
		seq := uint64(1)
		for id, kind := range []string{"short", "small", "long", "numbers"} {
			seq++
			b.apply(event("contacts", int64(id), seq, values[kind]))
			inExtra, _ := strconv.Atoi(b.value(`select (select count(*) from jsonb_object_keys(_extra)) from hubspot.contacts where id = $1`, id))
			inColumns, _ := strconv.Atoi(b.value(`select (select count(*) from jsonb_each_text(to_jsonb(c) - '_extra') where key like 'p%' and value is not null) from hubspot.contacts c where id = $1`, id))
			t.Logf("%s values: %d in columns, %d in _extra", kind, inColumns, inExtra)
			if inExtra+inColumns != 1_599 {
				t.Errorf("%s values: %d in columns and %d in _extra are not 1599", kind, inColumns, inExtra)
			}
		}
		b.want("0", `select count(*) from hubspot.dead_letters`)
		// The same rows again, all at once, as an update through the other path.
		var again []sink.Message
		for id, kind := range []string{"long", "short", "numbers", "small"} {
			seq++
			again = append(again, event("contacts", int64(id), seq, values[kind]))
		}
		b.apply(again...)
		b.want("0", `select count(*) from hubspot.dead_letters`)
		b.want("9", `select max(_seq) from hubspot.contacts`)
	})
}

func TestBadEventsGoToDeadLettersAndTheRestFlows(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(definitions(t, "contacts", 1, "email", "string"))
	b.exec(`alter table hubspot.contacts add constraint no_spam check (email <> 'spam@x')`)
	b.exec(`alter table hubspot.contacts add column mine text`)
	b.exec(`create unique index on hubspot.contacts (email)`)
	var messages []sink.Message
	seq := uint64(1)
	add := func(m sink.Message) {
		seq++
		m.Seq = seq
		messages = append(messages, m)
	}
	for i := range 300 {
		add(event("contacts", int64(i), 0, props{"email": fmt.Sprint(i, "@x")}))
	}
	add(event("contacts", 1000, 0, props{"email": "spam@x"}))
	add(event("contacts", 1001, 0, props{"email": "7@x"})) // not unique
	broken := event("contacts", 1002, 0, props{"email": "x"})
	broken.Data = []byte(`{"oops`)
	add(broken)
	forged := event("contacts", 1003, 0, props{"email": "x"})
	forged.Header["hubtail-hash"] = []string{"0123"}
	add(forged)
	add(sink.Message{Message: schemas.Message{Subject: "hubspot.42.contacts.abc", Data: []byte("{}")}})
	add(sink.Message{Message: schemas.Message{Subject: "hubspot.42._nonsense.contacts", Data: []byte("{}")}})
	add(control(t, 0, &schemas.DeadLetter{Portal: portal, Object: "deals", ID: "5", Reason: "no \x00 properties", Record: "{}"}))
	add(event("contacts", 2000, 0, props{"email": "last@x"}))
	b.apply(messages...)
	b.want("301", `select count(*) from hubspot.contacts`)
	b.want("last@x", `select email from hubspot.contacts where id = 2000`)
	b.want("302:23514 303:23505 304:- 305:- 306:- 307:- 308:-",
		`select string_agg(seq || ':' || coalesce(sqlstate, '-'), ' ' order by seq) from hubspot.dead_letters`)
	b.want("contacts 1000 1 t", `select concat_ws(' ', object, record_id, tries, convert_from(payload, 'UTF8') like '%spam@x%') from hubspot.dead_letters where seq = 302`)
	b.want("source deals 5", `select concat_ws(' ', origin, object, record_id) from hubspot.dead_letters where seq = 308`)
	b.want("309", `select seq from hubspot.positions`)
	b.apply(messages...)
	b.want("7 2", `select concat(count(*), ' ', max(tries)) from hubspot.dead_letters`)
}

func TestMessagesOfAnotherPortalAreRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(event("contacts", 1, 1, props{"email": "a@x"}))
	other := event("contacts", 1, 2, nil, func(e *schemas.Event) { e.Portal = "43" })
	if err := b.applier.Apply(t.Context(), []sink.Message{other}, 2); !errors.Is(err, sink.ErrOtherPortal) {
		t.Errorf("error %v", err)
	}
}

func TestADatabaseThatWasSetBackIsNoticed(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.apply(event("contacts", 1, 1, nil), event("contacts", 2, 2, nil))
	b.exec(`update hubspot.positions set seq = 1, high = 1`)
	err := b.applier.Apply(t.Context(), []sink.Message{event("contacts", 3, 3, nil)}, 3)
	if !errors.Is(err, sink.ErrMoved) {
		t.Errorf("error %v", err)
	}
	b.want("2", `select count(*) from hubspot.contacts`)
	b.exec(`delete from hubspot.positions`)
	if err := b.applier.Apply(t.Context(), []sink.Message{event("contacts", 1, 1, nil)}, 1); !errors.Is(err, sink.ErrMoved) {
		t.Errorf("error %v", err)
	}
}

// TestARandomScheduleEndsInTheModelsState applies random events of few records in random order, in random batches, some
// of them several times, by two appliers, and compares with a model that only knows "the newest event of a record wins".
func TestARandomScheduleEndsInTheModelsState(t *testing.T) {
	t.Parallel()
	pgtest.EachMajor(t, func(t *testing.T, url string) {
		b := setupOn(t, url)
		r := rand.New(rand.NewPCG(5, 6))
		types := []string{"a", "string", "b", "number", "c", "bool", "d", "date", "e", "string", "f", "number"}
		messages := []sink.Message{definitions(t, "contacts", 1, types[:6]...)}
		type record struct {
			object string
			id     int64
		}
		model := make(map[record]string)
		for seq := uint64(2); seq < 2_000; seq++ {
			k := record{[]string{"contacts", "deals", "p_cars"}[r.IntN(3)], r.Int64N(60)}
			values := props{}
			for i := 0; i < len(types); i += 2 {
				if r.IntN(3) > 0 {
					values[types[i]] = []string{"1", "12.5", "true", "2024-02-29", "x\x00", "text 🎉"}[r.IntN(6)]
				}
			}
			switch {
			case seq == 700:
				messages = append(messages, definitions(t, "contacts", seq, types...))
			case seq == 900:
				messages = append(messages, definitions(t, "deals", seq, types[2:]...))
			case seq == 1200: // types change: a becomes a number, b text
				messages = append(messages, definitions(t, "deals", seq, "a", "number", "b", "string", "c", "bool"))
			default:
				change := op(schemas.OpUpdated)
				if r.IntN(10) == 0 {
					change = op(schemas.OpArchived)
				}
				messages = append(messages, event(k.object, k.id, seq, values, change))
				model[k] = fmt.Sprint(seq, " ", string(schemas.MakeProperties(values)))
			}
		}
		schedule := slices.Clone(messages)
		for range 500 {
			schedule = append(schedule, messages[r.IntN(len(messages))])
		}
		r.Shuffle(len(schedule), func(i, j int) { schedule[i], schedule[j] = schedule[j], schedule[i] })
		appliers := []*sink.Applier{b.applier, b.newApplier()}
		var group errgroup.Group
		parts := make([][]sink.Message, len(appliers))
		for i, m := range schedule {
			parts[i%len(parts)] = append(parts[i%len(parts)], m)
		}
		for i, a := range appliers {
			sizes := rand.New(rand.NewPCG(7, uint64(i)))
			group.Go(func() error {
				for rest := parts[i]; len(rest) > 0; {
					n := min(len(rest), 1+sizes.IntN(300))
					err := a.Apply(t.Context(), slices.Clone(rest[:n]), 0)
					var pgErr *pgconn.PgError
					if errors.As(err, &pgErr) && pgErr.Code == "40P01" {
						return fmt.Errorf("deadlock: %w", err)
					}
					if errors.As(err, &pgErr) && pgErr.Code == "55P03" {
						continue
					}
					if err != nil {
						return err
					}
					rest = rest[n:]
				}
				return nil
			})
		}
		if err := group.Wait(); err != nil {
			t.Fatal(err)
		}
		rows := 0
		for k, want := range model {
			if got := b.state(k.object, k.id); got != want {
				t.Errorf("%v is  %s\nwant %s", k, got, want)
			}
			rows++
		}
		b.want(strconv.Itoa(rows), `select (select count(*) from hubspot.contacts) + (select count(*) from hubspot.deals) + (select count(*) from hubspot.p_cars)`)
		b.want("0", `select count(*) from hubspot.dead_letters`)
	})
}

// state returns a row as its sequence and its raw values, wherever they are kept.
func (b *bundle) state(object string, id int64) string {
	b.t.Helper()
	var seq int64
	var row map[string]any
	if err := b.pool.QueryRow(b.t.Context(), `select _seq, to_jsonb(r) from hubspot.`+object+` r where id = $1`, id).Scan(&seq, &row); err != nil {
		return err.Error()
	}
	values := props{}
	for name, v := range row {
		if v != nil && !strings.HasPrefix(name, "_") && name != "id" {
			values[name] = fmt.Sprint(v)
		}
	}
	if extra, ok := row["_extra"].(map[string]any); ok {
		for name, v := range extra {
			if escaped, ok := v.(map[string]any); ok {
				v = schemas.NewScanner([]byte(escaped["json"].(string))).String()
			}
			if values[name] != "" {
				return name + " is in its column and in _extra"
			}
			values[name] = fmt.Sprint(v)
		}
	}
	return fmt.Sprint(seq, " ", string(schemas.MakeProperties(values)))
}
