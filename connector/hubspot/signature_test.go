package hubspot_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
)

const (
	secretY   = "yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"
	secretT   = "test-client-secret-0001"
	hookURL   = "https://hooks.example.test/hubspot"
	webhookY  = "https://www.example.com/webhook_uri"
	bodyFirst = `[{"eventId":1,"subscriptionId":12345,"portalId":62515,"occurredAt":1564113600000,"subscriptionType":"contact.creation","attemptNumber":0,"objectId":123,"changeSource":"CRM","changeFlag":"NEW","appId":54321}]`
	bodyUTF8  = `[{"eventId":2,"subscriptionId":7,"portalId":62515,"appId":54321,"occurredAt":1790000000123,"subscriptionType":"object.propertyChange","objectTypeId":"0-2","attemptNumber":1,"objectId":987654321,"propertyName":"name","propertyValue":"Žluťoučký kůň GmbH \u2013 日本","changeSource":"CRM_UI","sourceId":"userId:42"}]`
)

// vectors are known signatures, partly from HubSpot's own tests.
var vectors = []struct {
	name, version, secret, method, url, body, timestamp, signature string
}{
	{"1", "v3", secretY, "POST", webhookY, `{'example_field':'example_value'}`, "1693657560000", "K36dawei4A+QBNolUOqo7s91KQDWQ5MXZ/QufNYuk/Y="},
	{"2", "v3", secretY, "POST", webhookY, `{'example_field':'example_value'}`, "1700000300000", "RnbPH7+UMKVkbV32P8bz450N4M56aPmcru1+D3kSDtw="},
	{"3", "v1", secretY, "POST", "", bodyFirst, "", "232db2615f3d666fe21a8ec971ac7b5402d33b9a925784df3ca654d05f4817de"},
	{"4", "v2", secretY, "GET", webhookY, "", "", "eee2dddcc73c94d699f5e395f4b9d454a069a6855fbfa152e91e88823087200e"},
	{"5", "v2", secretY, "POST", webhookY, `{"example_field":"example_value"}`, "", "9569219f8ba981ffa6f6f16aa0f48637d35d728c7e4d93d0d52efaa512af7900"},
	{"6", "v3", secretT, "POST", hookURL, bodyFirst, "1790000001000", "FheL8iVi+UB8YheO3N/GMidTp+ILxdviUiSij9qOHLc="},
	{"7", "v3", secretT, "POST", hookURL, bodyUTF8, "1790000001000", "mIndcHKVvKi3TVkwEhO3TMzR5q7awP0etnyZMhE5hk8="},
	{"8", "v1", secretT, "POST", "", bodyUTF8, "", "325c6e14e0a1bc84bcedc3d9c5991df1908bd4e84d21f322397f9af3bde49a27"},
	{"9", "v3", secretT, "POST", hookURL + "?tenant=a%3Ab%2Fc&x=%28y%29%20z", "[]", "1790000001000", "W06tgpRNsrSFIeQnCwtLgRB6RBZ/3VA//H3q62H/Pnc="},
	{"10", "v3", secretT, "POST", hookURL, "[]", "1790000001000", "DCqJwTJ6zMRVcQhlzSWbCfAXwi3bnm5fPQtHpE7AAjI="},
}

func verify(version, secret, signature string, d hubspot.Delivery, now time.Time) error {
	switch version {
	case "v1":
		return d.VerifyV1(secret, signature)
	case "v2":
		return d.VerifyV2(secret, signature)
	}
	return d.VerifyV3(secret, signature, now)
}

func TestSignatureVectors(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			d := hubspot.Delivery{Method: v.method, URL: v.url, Body: []byte(v.body), Timestamp: v.timestamp}
			ms, _ := strconv.ParseInt(v.timestamp, 10, 64)
			now := time.UnixMilli(ms)
			if err := verify(v.version, v.secret, v.signature, d, now); err != nil {
				t.Fatal(err)
			}
			// Whatever is changed, it is forged.
			if err := verify(v.version, v.secret+"x", v.signature, d, now); !errors.Is(err, hubspot.ErrSignature) {
				t.Errorf("other secret: %v", err)
			}
			if err := verify(v.version, "", v.signature, d, now); !errors.Is(err, hubspot.ErrSignature) {
				t.Errorf("no secret: %v", err)
			}
			for _, signature := range []string{"", "x", v.signature[1:], v.signature + v.signature} {
				if err := verify(v.version, v.secret, signature, d, now); !errors.Is(err, hubspot.ErrSignature) {
					t.Errorf("signature %q: %v", signature, err)
				}
			}
			forged := d
			forged.Body = append([]byte(v.body), ' ')
			if err := verify(v.version, v.secret, v.signature, forged, now); !errors.Is(err, hubspot.ErrSignature) {
				t.Errorf("other body: %v", err)
			}
			if v.version == "v1" {
				return
			}
			forged = d
			forged.URL += "/"
			if err := verify(v.version, v.secret, v.signature, forged, now); !errors.Is(err, hubspot.ErrSignature) {
				t.Errorf("other URL: %v", err)
			}
		})
	}
}

// The undecoded form of vector 9 is not what HubSpot signs.
func TestSignatureOfUndecodedURLIsRefused(t *testing.T) {
	d := hubspot.Delivery{Method: "POST", URL: hookURL + "?tenant=a%3Ab%2Fc&x=%28y%29%20z", Body: []byte("[]"), Timestamp: "1790000001000"}
	if err := d.VerifyV3(secretT, "GlCPjOVjFU6dUPX2Rwcu1kQdFVOjLO1jA91sAuKu93s=", time.UnixMilli(1790000001000)); !errors.Is(err, hubspot.ErrSignature) {
		t.Error(err)
	}
}

func TestSignatureTimestamp(t *testing.T) {
	v := vectors[9]
	sent := time.UnixMilli(1790000001000)
	for name, c := range map[string]struct {
		timestamp string
		now       time.Time
		want      error
	}{
		"now":              {v.timestamp, sent, nil},
		"five minutes":     {v.timestamp, sent.Add(300_000 * time.Millisecond), nil},
		"and one ms":       {v.timestamp, sent.Add(300_001 * time.Millisecond), hubspot.ErrSignatureExpired},
		"a little ahead":   {v.timestamp, sent.Add(-30 * time.Second), nil},
		"far ahead":        {v.timestamp, sent.Add(-2 * time.Minute), hubspot.ErrSignatureExpired},
		"missing":          {"", sent, hubspot.ErrSignatureExpired},
		"signed":           {"+1790000001000", sent, hubspot.ErrSignatureExpired},
		"negative":         {"-1790000001000", sent, hubspot.ErrSignatureExpired},
		"with space":       {" 1790000001000", sent, hubspot.ErrSignatureExpired},
		"fraction":         {"1790000001000.0", sent, hubspot.ErrSignatureExpired},
		"huge":             {"99999999999999999999", sent, hubspot.ErrSignatureExpired},
		"leading zero":     {"01790000001000", sent, hubspot.ErrSignature},
		"another moment":   {"1790000001001", sent, hubspot.ErrSignature},
		"overflowing ages": {"9223372036854775807", sent, hubspot.ErrSignatureExpired},
	} {
		t.Run(name, func(t *testing.T) {
			d := hubspot.Delivery{Method: v.method, URL: v.url, Body: []byte(v.body), Timestamp: c.timestamp}
			if err := d.VerifyV3(v.secret, v.signature, c.now); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
}

func FuzzSignature(f *testing.F) {
	f.Add("1790000001000", hookURL, "[]", "DCqJwTJ6zMRVcQhlzSWbCfAXwi3bnm5fPQtHpE7AAjI=")
	f.Fuzz(func(t *testing.T, timestamp, url, body, signature string) {
		d := hubspot.Delivery{Method: "POST", URL: url, Body: []byte(body), Timestamp: timestamp}
		if d.VerifyV3("a secret nobody knows", signature, time.UnixMilli(1790000001000)) == nil || d.VerifyV1("a secret nobody knows", signature) == nil {
			t.Fatal("forged")
		}
	})
}
