package schemas_test

import (
	"errors"
	"testing"

	"github.com/hubtail/hubtail/schemas"
)

func TestSubjects(t *testing.T) {
	for text, want := range map[string]schemas.Subject{
		"hubspot.1.contacts.2":                {Kind: schemas.KindRecord, Portal: "1", Object: "contacts", ID: "2"},
		"hubspot.1.p_machine.2":               {Kind: schemas.KindRecord, Portal: "1", Object: "p_machine", ID: "2"},
		"hubspot.1.2-3444025.2":               {Kind: schemas.KindRecord, Portal: "1", Object: "2-3444025", ID: "2"},
		"hubspot.1._x5f637572736f72.2":        {Kind: schemas.KindRecord, Portal: "1", Object: "_cursor", ID: "2"},
		"hubspot._x.contacts._x2a":            {Kind: schemas.KindRecord, Object: "contacts", ID: "*"},
		"hubspot.1._links.contacts.2.deals":   {Kind: schemas.KindLinks, Portal: "1", Object: "contacts", ID: "2", To: "deals"},
		"hubspot.1._properties.contacts":      {Kind: schemas.KindProperties, Portal: "1", Object: "contacts"},
		"hubspot.1._pipelines.deals":          {Kind: schemas.KindPipelines, Portal: "1", Object: "deals"},
		"hubspot.1._cursor.deals":             {Kind: schemas.KindCursor, Portal: "1", Object: "deals"},
		"hubspot.1._run.deals":                {Kind: schemas.KindRun, Portal: "1", Object: "deals"},
		"hubspot.1._dead_letter.deals._x312e": {Kind: schemas.KindDeadLetter, Portal: "1", Object: "deals", ID: "1."},
	} {
		if got, err := schemas.ParseSubject(text); err != nil || got != want {
			t.Errorf("ParseSubject(%q) = %+v, %v, want %+v", text, got, err, want)
		}
		if got := want.String(); got != text {
			t.Errorf("%+v is %q, want %q", want, got, text)
		}
	}
	if got := schemas.ControlSubject(schemas.KindCursor, "1", "deals"); got != "hubspot.1._cursor.deals" {
		t.Errorf("ControlSubject = %q", got)
	}
}

func TestParseSubjectRefuses(t *testing.T) {
	for _, text := range []string{
		"", "hubspot", "hubspot.", "hubspot.1", "hubspot.1.contacts", "hubspot.1.contacts.", "hubspot..contacts.2", "hubspot.1..2",
		"hubspot.1.contacts.2.3", "Hubspot.1.contacts.2", "x.1.contacts.2", ".hubspot.1.contacts.2", "hubspot.1.contacts.*", "hubspot.*.contacts.2",
		"hubspot.1.contacts.>", "hubspot.1.con tacts.2", "hubspot.1.contacts._2", "hubspot._1.contacts.2", "hubspot.1.contacts._x3", "hubspot.1.contacts._x31",
		"hubspot.1.contacts._x2A2a", "hubspot.1.contacts._x2A", "hubspot.1._cursor", "hubspot.1._cursor.", "hubspot.1._cursor.a.b", "hubspot.1._links.a.b",
		"hubspot.1._links.a.b.c.d", "hubspot.1._.a", "hubspot.1._*.a", "hubspot.1.kontakt\u00e9.2",
	} {
		if s, err := schemas.ParseSubject(text); err == nil {
			t.Errorf("ParseSubject(%q) = %+v", text, s)
		} else if errors.Is(err, schemas.ErrUnknownKind) {
			t.Errorf("ParseSubject(%q) takes it for a message of a later version: %v", text, err)
		}
	}
}

func TestUnknownKindsCanBeSkipped(t *testing.T) {
	for _, text := range []string{"hubspot.1._weather.contacts", "hubspot.1._weather.contacts.1.2", "hubspot.1._weather"} {
		if _, err := schemas.ParseSubject(text); !errors.Is(err, schemas.ErrUnknownKind) {
			t.Errorf("ParseSubject(%q): %v, want ErrUnknownKind", text, err)
		}
	}
}

func TestParseSubjectDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { _, _ = schemas.ParseSubject("hubspot.147893286._links.contacts.713492963559.deals") }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}
