package hubspot

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Headers of a webhook delivery.
const (
	HeaderSignatureV3      = "X-HubSpot-Signature-v3"
	HeaderSignature        = "X-HubSpot-Signature" // v1 and v2
	HeaderSignatureVersion = "X-HubSpot-Signature-Version"
	HeaderRequestTimestamp = "X-HubSpot-Request-Timestamp"
)

// Signatures that do not fit.
var (
	// ErrSignature says that the signature is missing or wrong: the delivery is forged, the secret is of another app, or the
	// URL is not the one that HubSpot called.
	ErrSignature = errors.New("signature does not match")
	// ErrSignatureExpired says that the timestamp is missing, too old, in the future, or no number.
	ErrSignatureExpired = errors.New("signature timestamp is not current")
)

// HubSpot rule: a v3 signature older than five minutes is refused, one of exactly five minutes is not. That it may not be more
// than a minute ahead is our own rule.
const (
	signatureMaxAge   = 5 * time.Minute
	signatureMaxAhead = time.Minute
)

// Delivery is a webhook request as it came, for Verify.
type Delivery struct {
	Method string
	// URL is the address that HubSpot was told to call, with scheme, host, path and query. It must come from configuration:
	// behind a proxy the request itself does not tell.
	URL       string
	Body      []byte // the very bytes
	Timestamp string // header X-HubSpot-Request-Timestamp
}

// VerifyV3 checks the signature of header X-HubSpot-Signature-v3 with the app's client secret, at the time now.
func (d Delivery) VerifyV3(secret, signature string, now time.Time) error {
	// The number is checked as strictly as HubSpot writes it: digits, nothing else.
	ms, err := strconv.ParseUint(d.Timestamp, 10, 63)
	if err != nil {
		return ErrSignatureExpired
	}
	if age := now.UnixMilli() - int64(ms); age > signatureMaxAge.Milliseconds() || age < -signatureMaxAhead.Milliseconds() {
		return ErrSignatureExpired
	}
	given, err := base64.StdEncoding.Strict().DecodeString(signature)
	if err != nil || secret == "" || !hmac.Equal(given, d.macV3(secret)) {
		return ErrSignature
	}
	return nil
}

// SignV3 returns what HubSpot puts into header X-HubSpot-Signature-v3, for a delivery of our own that tries a receiver.
func (d Delivery) SignV3(secret string) string {
	return base64.StdEncoding.EncodeToString(d.macV3(secret))
}

func (d Delivery) macV3(secret string) []byte {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(d.Method + decodeURI(d.URL)))
	mac.Write(d.Body)
	mac.Write([]byte(d.Timestamp))
	return mac.Sum(nil)
}

// VerifyV1 checks the signature of header X-HubSpot-Signature whose version is v1. It protects neither the address nor against
// repetition: accept it only where HubSpot sends nothing better.
func (d Delivery) VerifyV1(secret, signature string) error {
	return verifyHex(secret, signature, []byte(secret), d.Body)
}

// VerifyV2 checks the signature of header X-HubSpot-Signature whose version is v2.
func (d Delivery) VerifyV2(secret, signature string) error {
	return verifyHex(secret, signature, []byte(secret+d.Method+d.URL), d.Body)
}

func verifyHex(secret, signature string, parts ...[]byte) error {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
	}
	given, err := hex.DecodeString(signature)
	if err != nil || secret == "" || subtle.ConstantTimeCompare(given, h.Sum(nil)) != 1 {
		return ErrSignature
	}
	return nil
}

// uriDecoder undoes exactly these escapes. HubSpot rule: it signs the URL with these decoded and no others.
var uriDecoder = strings.NewReplacer(
	"%3A", ":", "%2F", "/", "%3F", "?", "%40", "@", "%21", "!", "%24", "$", "%27", "'", "%28", "(", "%29", ")", "%2A", "*", "%2C", ",", "%3B", ";",
	"%3a", ":", "%2f", "/", "%3f", "?", "%2a", "*", "%2c", ",", "%3b", ";",
)

func decodeURI(uri string) string { return uriDecoder.Replace(uri) }
