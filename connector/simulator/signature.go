package simulator

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
)

// sign sets the signature headers of a webhook request.
func sign(h http.Header, secret, method, uri string, body []byte, ms int64, v3 bool) {
	h.Set("X-HubSpot-Signature", signatureV1(secret, body))
	h.Set("X-HubSpot-Signature-Version", "v1")
	if v3 {
		timestamp := strconv.FormatInt(ms, 10)
		h.Set("X-HubSpot-Request-Timestamp", timestamp)
		h.Set("X-HubSpot-Signature-v3", signatureV3(secret, method, uri, body, timestamp))
	}
}

// signatureV1 is hex(SHA-256(secret + body)).
func signatureV1(secret string, body []byte) string {
	sum := sha256.Sum256(append([]byte(secret), body...))
	return hex.EncodeToString(sum[:])
}

// signatureV3 is base64(HMAC-SHA256(secret, method + uri + body + timestamp)), some escapes of the URI decoded.
func signatureV3(secret, method, uri string, body []byte, timestamp string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(method + decodedURI.Replace(uri)))
	mac.Write(body)
	mac.Write([]byte(timestamp))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// decodedURI decodes exactly the escapes that HubSpot's rule names.
var decodedURI = strings.NewReplacer("%3A", ":", "%2F", "/", "%3F", "?", "%40", "@", "%21", "!", "%24", "$", "%27", "'",
	"%28", "(", "%29", ")", "%2A", "*", "%2C", ",", "%3B", ";")
