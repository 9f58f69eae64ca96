package schemas_test

import (
	"fmt"

	"github.com/hubtail/hubtail/schemas"
)

func ExampleDecodeEvent() {
	// A message as any NATS client delivers it: nats.Msg has the same three fields.
	m := schemas.Message{
		Subject: "hubspot.147893286.contacts.713492963559",
		Header:  map[string][]string{"hubtail-origin": {"poll"}, "hubtail-hash": {"bf1e4069b52f469d3f2e0f3998592256"}},
		Data: []byte(`{"portal":"147893286","object":"contacts","object_type_id":"0-1","id":"713492963559","op":"updated",` +
			`"archived":false,"updated_at":"2026-03-12T10:04:17.969Z","properties":{"email":"t@example.com","firstname":"Updated"},` +
			`"changed":["firstname","jobtitle"],"previous":{"firstname":"Test","jobtitle":"CEO"},"previous_seq":4711}`),
	}
	e, err := schemas.DecodeEvent(m)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(e.Object, e.ID, e.Op, e.UpdatedAt)
	for _, name := range e.Changed {
		before, _ := e.Previous.Get(name)
		now, _ := e.Properties.Get(name)
		fmt.Printf("%s: %q -> %q\n", name, before, now)
	}
	// Output:
	// contacts 713492963559 updated 2026-03-12 10:04:17.969 +0000 UTC
	// firstname: "Test" -> "Updated"
	// jobtitle: "CEO" -> ""
}

func ExampleDecodeControl() {
	c, err := schemas.DecodeControl(schemas.Message{
		Subject: "hubspot.147893286._cursor.contacts",
		Data:    []byte(`{"portal":"147893286","object":"contacts","instance":"a","at":"2026-03-12T10:04:18Z","complete_through":"2026-03-12T10:03:48Z"}`),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	switch c := c.(type) {
	case *schemas.Cursor:
		fmt.Println("every change before", c.CompleteThrough, "is in the log")
	case *schemas.Run:
		fmt.Println(c.SyncType, "run:", c.Status)
	}
	// Output:
	// every change before 2026-03-12 10:03:48 +0000 UTC is in the log
}

func ExampleParseProperties() {
	p, _, err := schemas.ParseProperties([]byte(`{"lastname":"Müller", "firstname":"Ada", "jobtitle":null, "phone":""}`))
	fmt.Println(string(p), err)
	// Output:
	// {"firstname":"Ada","lastname":"Müller"} <nil>
}

func ExampleDiff() {
	before := schemas.MakeProperties(map[string]string{"firstname": "Test", "jobtitle": "CEO"})
	after := schemas.MakeProperties(map[string]string{"firstname": "Updated", "phone": "112"})
	changed, previous := schemas.Diff(before, after)
	fmt.Println(changed, string(previous))
	// Output:
	// [firstname jobtitle phone] {"firstname":"Test","jobtitle":"CEO"}
}

func ExampleSubject_String() {
	fmt.Println(schemas.RecordSubject("147893286", "contacts", "713492963559"))
	fmt.Println(schemas.RecordSubject("147893286", "contacts", "*"))
	fmt.Println(schemas.ControlSubject(schemas.KindCursor, "147893286", "contacts"))
	// Output:
	// hubspot.147893286.contacts.713492963559
	// hubspot.147893286.contacts._x2a
	// hubspot.147893286._cursor.contacts
}
