package connector

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// testNames are the object types of a source: some, and a custom one with the name of a standard one.
func testNames(t testing.TB) objectNames {
	t.Helper()
	custom := hubspot.Object{Name: "p_contact", Singular: "contact", TypeID: "2-31", FullyQualifiedName: "p4711_contact"}
	names := objectNames{custom}
	for _, name := range []string{"contacts", "companies", "deals", "tickets", "products", "line_items", "calls"} {
		o, ok := hubspot.ObjectByName(name)
		equal(t, name, ok, true)
		names = append(names, o)
	}
	return names
}

func TestEveryEventBecomesTheHintsItNeeds(t *testing.T) {
	t.Parallel()
	names := testNames(t)
	for event, want := range map[string]string{
		`"subscriptionType":"contact.creation","objectId":1`:                                                                                              "contacts.1",
		`"eventType":"contact.creation","objectId":1`:                                                                                                     "contacts.1",
		`"subscriptionType":"company.deletion","objectId":1`:                                                                                              "companies.1",
		`"subscriptionType":"deal.restore","objectId":1`:                                                                                                  "_links.deals.1._all deals.1",
		`"subscriptionType":"ticket.propertyChange","objectId":1,"propertyName":"subject"`:                                                                "tickets.1",
		`"subscriptionType":"product.creation","objectId":"1"`:                                                                                            "products.1",
		`"subscriptionType":"line_item.deletion","objectId":1`:                                                                                            "line_items.1",
		`"subscriptionType":"object.creation","objectTypeId":"0-48","objectId":1`:                                                                         "calls.1",
		`"subscriptionType":"object.propertyChange","objectTypeId":"2-31","objectId":1,"isSensitive":false`:                                               "p_contact.1",
		`"subscriptionType":"object.merge","objectTypeId":"0-2","primaryObjectId":1,"mergedObjectIds":[2]`:                                                "_merge.companies.2 companies.1",
		`"subscriptionType":"contact.merge","objectId":3,"primaryObjectId":1,"mergedObjectIds":[2,4],"newObjectId":3`:                                     "_merge.contacts.1 _merge.contacts.2 _merge.contacts.4 contacts.3",
		`"subscriptionType":"contact.privacyDeletion","objectId":1`:                                                                                       "_purge.contacts.1",
		`"subscriptionType":"contact.associationChange","associationType":"CONTACT_TO_COMPANY","fromObjectId":1,"toObjectId":2`:                           "_links.companies.2.contacts _links.contacts.1.companies",
		`"subscriptionType":"company.associationChange","associationType":"COMPANY_TO_CONTACT","fromObjectId":2,"toObjectId":1,"associationRemoved":true`: "_links.companies.2.contacts _links.contacts.1.companies",
		`"subscriptionType":"deal.associationChange","associationType":"DEAL_TO_LINE_ITEM","fromObjectId":2,"toObjectId":1`:                               "_links.deals.2.line_items _links.line_items.1.deals",
		`"subscriptionType":"object.associationChange","fromObjectTypeId":"0-48","toObjectTypeId":"2-31","fromObjectId":2,"toObjectId":1`:                 "_links.calls.2.p_contact _links.p_contact.1.calls",
		`"subscriptionType":"contact.associationChange","associationType":"CONTACT_TO_QUOTE","fromObjectId":1,"toObjectId":2`:                             "_links.contacts.1.quotes",
		`"subscriptionType":"contact.associationChange","associationType":"CONTACT_TO_SPACESHIP","fromObjectId":1,"toObjectId":2`:                         "_links.contacts.1._all",
		`"subscriptionType":"contact.associationChange","associationType":"MEETING_EVENT_TO_CONTACT","fromObjectId":1,"toObjectId":2`:                     "_links.contacts.2._all",
		`"subscriptionType":"company.privacyDeletion","objectId":"1"`:                                                                                     "_purge.companies.1",
		`"subscriptionType":"quote.privacyDeletion","objectId":1.0`:                                                                                       "_purge.quotes.1",
		`"subscriptionType":"object.privacyDeletion","objectTypeId":"0-14","objectId":1e0`:                                                                "_purge.quotes.1",
		`"subscriptionType":"object.privacyDeletion","objectTypeId":"2-99","objectId":1`:                                                                  "_purge.2-99.1",
		`"subscriptionType":"CONTACT.privacydeletion","objectId":1`:                                                                                       "_purge.contacts.1",
		`"subscriptionType":null,"eventType":"contact.privacyDeletion","objectId":1`:                                                                      "_purge.contacts.1",
		`"subscriptionType":"conversation.privacyDeletion","objectId":1`:                                                                                  "",
		`"subscriptionType":"contact.merge","primaryObjectId":1.0,"mergedObjectIds":2,"newObjectId":"3"`:                                                  "_merge.contacts.1 _merge.contacts.2 contacts.3",
		`"subscriptionType":"contact.merge","primaryObjectId":1,"mergedObjectIds":null`:                                                                   "contacts.1",
		`"subscriptionType":"contact.propertyChange","objectId":1,"propertyName":{"a":1}`:                                                                 "contacts.1",
		`"subscriptionType":"contact.creation","objectId":9223372036854775808`:                                                                            "",
		`"subscriptionType":"conversation.creation","objectId":1`:                                                                                         "",
		`"subscriptionType":"contact.newMessage","objectId":1`:                                                                                            "",
		`"subscriptionType":"object.creation","objectId":1`:                                                                                               "",
		`"subscriptionType":"contact.creation","objectId":-1`:                                                                                             "",
		`"subscriptionType":"contact.creation","objectId":1.5`:                                                                                            "",
		`"subscriptionType":"contact.creation","objectId":99999999999999999999`:                                                                           "",
	} {
		events, err := parseDelivery([]byte(`[{"portalId":4711,"occurredAt":1790000000123,` + event + `}]`))
		if err != nil {
			t.Errorf("%s: %v", event, err)
			continue
		}
		list, ignored := events[0].hints("4711", names)
		equal(t, event+" is ignored", ignored != "", want == "")
		var got []string
		for _, subject := range slices.Sorted(maps.Keys(kindsOf(list))) {
			got = append(got, strings.TrimPrefix(subject, "hubspot-hints.4711."))
		}
		equal(t, event, strings.Join(got, " "), want)
		for _, h := range list {
			equal(t, "time", h.OccurredAt, time.UnixMilli(1790000000123).UTC())
		}
	}
}

func TestTimesAndPortalsAreReadInWhateverTypeTheyCome(t *testing.T) {
	t.Parallel()
	for _, portal := range []string{`4711`, `"4711"`, `4711.0`, `4.711e3`} {
		for at, want := range map[string]int64{
			`1790000000123`: 1790000000123, `"1790000000123"`: 1790000000123, `1.79e12`: 1790000000000, `1790000000123.0`: 1790000000123,
			`"2026-09-21T14:13:20.123Z"`: 1790000000123, `null`: 0, `"soon"`: 0, `{}`: 0, `-5`: 0, `1e99`: 0, `1.5`: 0,
		} {
			event := `{"portalId":` + portal + `,"occurredAt":` + at + `,"subscriptionType":"contact.privacyDeletion","objectId":1}`
			events, err := parseDelivery([]byte("[" + event + "]"))
			must(t, err)
			list, ignored := events[0].hints("4711", testNames(t))
			equal(t, event+" is ignored", ignored, "")
			millis := int64(0)
			if !list[0].OccurredAt.IsZero() {
				millis = list[0].OccurredAt.UnixMilli()
			}
			equal(t, event, millis, want)
		}
	}
}

func FuzzParseDelivery(f *testing.F) {
	for _, seed := range []string{
		oneEvent("1"), `[]`, `[{}]`, `[[[]]]`, `[{"objectId":{}}]`, `[null,1,"x"]`, `[{"mergedObjectIds":[1,"2",null,{}],"subscriptionType":"contact.merge","portalId":"4711"}]`,
		`[{"occurredAt":1e300}]`, `[{"occurredAt":-5,"subscriptionType":"contact.creation","portalId":4711,"objectId":0001}]`, "[{\"propertyName\":\"\\ud800\"}]",
	} {
		f.Add([]byte(seed))
	}
	names := testNames(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := parseDelivery(body)
		if err != nil {
			return
		}
		for i := range events {
			list, ignored := events[i].hints("4711", names)
			if (ignored == "") != (len(list) > 0) {
				t.Errorf("%d hints, ignored %q", len(list), ignored)
			}
			if _, err := hintMessages(list); err != nil {
				t.Errorf("hint that cannot be stored: %v", err)
			}
		}
	})
}
