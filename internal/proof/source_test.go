package proof_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/internal/proof"
	"github.com/hubtail/hubtail/schemas"
)

const token = "pat-simulator"

func newHubSpot(t *testing.T, o simulator.Options) (*simulator.Simulator, string) {
	t.Helper()
	o.Latency = -1
	s := simulator.New(o)
	url, err := s.Start("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		http.DefaultClient.CloseIdleConnections()
	})
	return s, url
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		server.Close()
	})
	return server.URL
}

// TestTruthIsWhatTheSimulatorHolds reads the truth over HTTP, and puts it into tables as the sink makes them.
func TestTruthIsWhatTheSimulatorHolds(t *testing.T) {
	t.Parallel()
	s, url := newHubSpot(t, simulator.Options{Contacts: 300})
	id := s.IDs("contacts", 0, 4, 1)
	must(t, s.Update("contacts", id[0], map[string]string{"custom_text": odd}))
	must(t, s.Archive("contacts", id[1]))
	must(t, s.Purge("contacts", id[2]))
	if _, err := s.Merge("contacts", id[0], id[3]); err != nil {
		t.Fatal(err)
	}
	var got []proof.Record
	for r, err := range proof.Truth(t.Context(), url, "contacts") {
		must(t, err)
		got = append(got, r)
	}
	i, odds := 0, 0
	for want := range s.Truth("contacts") {
		r := got[i]
		i++
		if r.ID != want.ID || !r.CreatedAt.Equal(want.CreatedAt) || !r.UpdatedAt.Equal(want.UpdatedAt) || r.Archived != want.Archived ||
			r.MergedInto != want.MergedInto || r.Purged != want.Purged || len(r.Properties) != len(want.Properties) {
			t.Fatalf("%+v\n%+v", r, want)
		}
		for name, value := range want.Properties {
			if r.Properties[name] != value {
				t.Errorf("%s of %s is %q, want %q", name, r.ID, r.Properties[name], value)
			}
			if strings.Contains(value, odd) {
				odds++
			}
		}
	}
	if i != len(got) || odds == 0 {
		t.Errorf("%d records of %d, %d with odd text", len(got), i, odds)
	}
	tb := newTables(t)
	tb.define("contacts", "custom_text", "string")
	for _, r := range got {
		tb.put("contacts", r)
	}
	if r := tb.compare("contacts", proof.Truth(t.Context(), url, "contacts")); !r.Equal() || r.Source != len(got) {
		t.Errorf("%+v", r)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestATruthThatBreaksOffIsAnError(t *testing.T) {
	t.Parallel()
	const line = `{"id":"1","properties":{},"createdAt":"2024-01-01T00:00:00Z","updatedAt":"2024-01-01T00:00:00Z","archived":false}` + "\n"
	answers := map[string]http.HandlerFunc{
		"404":        http.NotFound,
		"a line cut": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(line + line[:20])) },
		"not JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>\n")) },
		"not a string": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(strings.Replace(line, "{}", `{"a":1}`, 1)))
		},
		"connection breaks": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(line))
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		},
	}
	for name, answer := range answers {
		var last error
		for _, err := range proof.Truth(t.Context(), serve(t, answer), "contacts") {
			last = err
		}
		if last == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestOwnersAreComparedDeactivatedOnesIncluded(t *testing.T) {
	t.Parallel()
	s, url := newHubSpot(t, simulator.Options{Owners: 230}) // three pages
	owners := s.Owners()
	owners[7].Archived, owners[120].Archived = true, true
	s.SetOwner(owners[7])
	s.SetOwner(owners[120])
	tb := newTables(t)
	tb.define("owners", "email", "string", "first_name", "string", "last_name", "string", "teams", "json", "type", "string", "user_id", "string", "user_id_including_inactive", "string")
	n := 0
	for r, err := range proof.Owners(t.Context(), url, token) {
		must(t, err)
		if want := owners[n]; r.ID != want.ID || r.Properties["email"] != want.Email || r.Archived != want.Archived {
			t.Errorf("%+v, want %+v", r, want)
		}
		if _, active := r.Properties["user_id"]; active == r.Archived {
			t.Errorf("user_id of %+v", r)
		}
		tb.put("owners", r)
		n++
	}
	compare := func() proof.Result { return tb.compare("owners", proof.Owners(t.Context(), url, token)) }
	if r := compare(); !r.Equal() || r.Source != 230 || n != 230 {
		t.Errorf("%d owners: %+v", n, r)
	}
	for change, want := range map[string]outcome{
		"update hubspot.owners set email = 'x@example.com' where id = " + owners[3].ID:              {different: 1},
		"update hubspot.owners set teams = null where id = " + owners[0].ID:                         {different: 1},
		"update hubspot.owners set user_id = user_id_including_inactive where id = " + owners[7].ID: {different: 1},
		"update hubspot.owners set _archived = false where id = " + owners[120].ID:                  {different: 1},
		"delete from hubspot.owners where id = " + owners[120].ID:                                   {missing: 1},
		"insert into hubspot.owners (id, _seq) values (1, 1)":                                       {extra: 1},
	} {
		if r := tb.changed("owners", change, compare); outcomeOf(r) != want {
			t.Errorf("%s: %+v", change, r)
		}
	}
	for _, err := range proof.Owners(t.Context(), url, "wrong") {
		if err == nil || strings.Contains(err.Error(), "wrong") {
			t.Errorf("a refused token: %v", err)
		}
	}
}

func TestPipelinesAndStagesAreCompared(t *testing.T) {
	t.Parallel()
	s, url := newHubSpot(t, simulator.Options{})
	tb := newTables(t)
	put := func() {
		p := &schemas.Pipelines{Portal: "42", Object: "deals"}
		for _, have := range s.Pipelines("deals") {
			one := schemas.Pipeline{ID: have.ID, Label: have.Label, DisplayOrder: have.Order, Archived: have.Archived, CreatedAt: moment(t, have.CreatedAt), UpdatedAt: moment(t, have.UpdatedAt)}
			for _, stage := range have.Stages {
				one.Stages = append(one.Stages, schemas.Stage{ID: stage.ID, Label: stage.Label, DisplayOrder: stage.Order, Archived: stage.Archived, Metadata: stage.Metadata, CreatedAt: moment(t, stage.CreatedAt), UpdatedAt: moment(t, stage.UpdatedAt)})
			}
			p.Pipelines = append(p.Pipelines, one)
		}
		tb.control(p)
	}
	put()
	compare := func() proof.Result {
		r, err := proof.ComparePipelines(t.Context(), tb.conn, schema, "deals", url, token)
		must(t, err)
		return r
	}
	if r := compare(); !r.Equal() || r.Source != 8 {
		t.Errorf("%+v", r)
	}
	changes := map[string]struct {
		table, change string
		want          outcome
	}{
		"label":                {"pipelines", "update hubspot.pipelines set label = label || '1'", outcome{different: 1}},
		"label and order swap": {"pipeline_stages", "update hubspot.pipeline_stages set label = label || '1', display_order = 0 where id = 'appointmentscheduled'", outcome{different: 1}},
		"order":                {"pipelines", "update hubspot.pipelines set display_order = 5", outcome{different: 1}},
		"archived":             {"pipelines", "update hubspot.pipelines set archived = true", outcome{different: 1}},
		"updated_at":           {"pipelines", "update hubspot.pipelines set updated_at = null", outcome{different: 1}},
		"stage created_at":     {"pipeline_stages", "update hubspot.pipeline_stages set created_at = now() where id = 'closedwon'", outcome{different: 1}},
		"stage label":          {"pipeline_stages", "update hubspot.pipeline_stages set label = '' where id = 'closedwon'", outcome{different: 1}},
		"stage metadata":       {"pipeline_stages", `update hubspot.pipeline_stages set metadata = metadata || '{"probability": "0.99"}' where id = 'closedwon'`, outcome{different: 1}},
		"stage metadata lost":  {"pipeline_stages", "update hubspot.pipeline_stages set metadata = null where id = 'closedwon'", outcome{different: 1}},
		"stage missing":        {"pipeline_stages", "delete from hubspot.pipeline_stages where id = 'closedwon'", outcome{missing: 1}},
		"stage elsewhere":      {"pipeline_stages", "update hubspot.pipeline_stages set pipeline_id = 'x' where id = 'closedwon'", outcome{missing: 1, extra: 1}},
		"pipeline superfluous": {"pipelines", "insert into hubspot.pipelines values ('deals', 'x', 'X', 1, false, null, null, 1)", outcome{extra: 1}},
		"pipeline of another":  {"pipelines", "insert into hubspot.pipelines values ('tickets', 'x', 'X', 1, false, null, null, 1)", outcome{}},
	}
	for name, c := range changes {
		r := tb.changed(c.table, c.change, compare)
		if outcomeOf(r) != c.want || r.Equal() != (len(r.Examples) == 0) {
			t.Errorf("%s: %+v", name, r)
		}
	}
	// What HubSpot deleted stays in the tables as archived: history, no difference. While it is live there, it is one.
	kept := s.Pipelines("deals")
	kept[0].Stages = kept[0].Stages[1:]
	must(t, s.SetPipelines("deals", kept))
	if r := compare(); outcomeOf(r) != (outcome{extra: 1}) || !strings.Contains(strings.Join(r.Examples, " "), "appointmentscheduled") {
		t.Errorf("a deleted stage: %+v", r)
	}
	put()
	if r := compare(); !r.Equal() {
		t.Errorf("a deleted stage, archived: %+v", r)
	}
	if _, err := proof.ComparePipelines(t.Context(), tb.conn, schema, "deals", url, "wrong"); err == nil {
		t.Error("a refused token is no error")
	}
}

func moment(t *testing.T, text string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, text)
	must(t, err)
	return at
}

// TestLinksAreCompared changes one link of those that the sink wrote from the simulator's truth, in every way.
func TestLinksAreCompared(t *testing.T) {
	t.Parallel()
	s, url := newHubSpot(t, simulator.Options{Contacts: 60, Companies: 8})
	contact, company := s.IDs("contacts", 0, 1, 1)[0], s.IDs("companies", 7, 1, 1)[0]
	must(t, s.Link("contacts", contact, "companies", company, simulator.LinkType{Category: "USER_DEFINED", TypeID: 5, Label: "Partner"}))
	tb := newTables(t)
	objects := []string{"contacts", "companies"}
	links := 0
	for i, from := range objects {
		to := objects[1-i]
		sets := map[string]*schemas.Links{}
		for l := range s.TruthLinks(from, to) {
			if sets[l.ID] == nil {
				sets[l.ID] = &schemas.Links{Portal: "42", From: from, ID: l.ID, To: to}
			}
			for _, ty := range l.Types {
				sets[l.ID].Links = append(sets[l.ID].Links, schemas.Link{ID: l.To, Category: ty.Category, TypeID: ty.TypeID, Label: ty.Label})
				links++
			}
		}
		for _, set := range sets {
			tb.control(set)
		}
	}
	compare := func() proof.Result {
		r, err := proof.CompareLinks(t.Context(), tb.conn, schema, url, objects...)
		must(t, err)
		return r
	}
	if r := compare(); !r.Equal() || r.Source != links || r.Values != links || links < 80 {
		t.Fatalf("%+v, want %d links", r, links)
	}
	one := " where from_object = 'contacts' and from_id = " + contact + " and to_id = " + company + " and type_id = 5"
	for change, want := range map[string]outcome{
		"delete from hubspot.links" + one:                                          {missing: 1},
		"update hubspot.links set label = 'Owner'" + one:                           {different: 1},
		"update hubspot.links set label = null" + one:                              {different: 1},
		"update hubspot.links set type_id = 6" + one:                               {missing: 1, extra: 1},
		"update hubspot.links set to_id = to_id + 1" + one:                         {missing: 1, extra: 1},
		"update hubspot.links set category = 'X'" + one:                            {missing: 1, extra: 1},
		"insert into hubspot.links values ('contacts', 1, 'companies', 2, 3, 'X')": {extra: 1},
	} {
		if r := tb.changed("links", change, compare); outcomeOf(r) != want || len(r.Examples) == 0 {
			t.Errorf("%s: %+v", change, r)
		}
	}
	if _, err := proof.CompareLinks(t.Context(), tb.conn, schema, url, "contacts", "butterflies"); err == nil {
		t.Error("no error about an object type that does not exist")
	}
}
