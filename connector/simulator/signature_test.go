package simulator

import "testing"

const sample = `[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]`

// The vectors are those of HubSpot's own SDK and some computed by hand.
func TestSignatureVectors(t *testing.T) {
	t.Parallel()
	const sdk, own = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy", "test-client-secret-0001"
	unicode := `[{"eventId":2,"subscriptionId":7,"portalId":62515,"appId":54321,"occurredAt":1790000000123,"subscriptionType":"object.propertyChange","objectTypeId":"0-2","attemptNumber":1,"objectId":987654321,"propertyName":"name","propertyValue":"Žluťoučký kůň GmbH \u2013 日本","changeSource":"CRM_UI","sourceId":"userId:42"}]`
	for _, v := range []struct{ secret, uri, body, ts, want string }{
		{sdk, "https://www.example.com/webhook_uri", "{'example_field':'example_value'}", "1693657560000", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="},
		{sdk, "https://www.example.com/webhook_uri", "{'example_field':'example_value'}", "1700000300000", "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="},
		{own, "https://hooks.example.test/hubspot", sample, "1790000001000", "FheL8iVi+UB8YheO3N/GMidTp+ILxdviUiSij9qOHLc="},
		{own, "https://hooks.example.test/hubspot", unicode, "1790000001000", "mIndcHKVvKi3TVkwEhO3TMzR5q7awP0etnyZMhE5hk8="},
		{own, "https://hooks.example.test/hubspot?tenant=a%3Ab%2Fc&x=%28y%29%20z", "[]", "1790000001000", "W06tgpRNsrSFIeQnCwtLgRB6RBZ/3VA//H3q62H/Pnc="},
		{own, "https://hooks.example.test/hubspot", "[]", "1790000001000", "DCqJwTJ6zMRVcQhlzSWbCfAXwi3bnm5fPQtHpE7AAjI="},
	} {
		if got := signatureV3(v.secret, "POST", v.uri, []byte(v.body), v.ts); got != v.want {
			t.Errorf("v3 of %.40s: %s, want %s", v.body, got, v.want)
		}
	}
	if got := signatureV1(sdk, []byte(sample)); got != "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de" {
		t.Errorf("v1: %s", got)
	}
	if got := signatureV1(own, []byte(unicode)); got != "325c6e14e0a1bc84bcedc3d9c5991df1908bd4e84d21f322397f9af3bde49a27" {
		t.Errorf("v1: %s", got)
	}
}
