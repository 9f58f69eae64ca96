package schemas

import "fmt"

// Message is one message of the log, independent of a NATS client: nats.Msg has the same three fields.
type Message struct {
	Subject string
	Header  map[string][]string
	Data    []byte
}

// Header names of an event: CloudEvents 1.0 in binary mode, and two of our own.
const (
	HeaderID          = "ce-id"
	HeaderSpecVersion = "ce-specversion"
	HeaderSource      = "ce-source"
	HeaderType        = "ce-type"
	HeaderSubject     = "ce-subject"
	HeaderTime        = "ce-time"
	HeaderDataSchema  = "ce-dataschema"
	HeaderContentType = "content-type"
	HeaderHash        = "hubtail-hash"
	HeaderOrigin      = "hubtail-origin"
)

const contentType = "application/json"

// header returns the value of a header, "" if absent.
func header(h map[string][]string, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// headerValue encodes what a CloudEvents header may not contain: CloudEvents percent-encodes everything but printable
// ASCII, and the quote and the percent sign. Ids and names from HubSpot need none of it.
func headerValue(v string) string {
	for i := range len(v) {
		if unsafeInHeader(v[i]) {
			return escapeHeader(v)
		}
	}
	return v
}

func unsafeInHeader(c byte) bool { return c <= ' ' || c >= 0x7F || c == '"' || c == '%' }

func escapeHeader(v string) string {
	const upperHex = "0123456789ABCDEF"
	var b []byte
	for i := range len(v) {
		if c := v[i]; unsafeInHeader(c) {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(b)
}

const (
	schemaBase   = "https://github.com/hubtail/hubtail/schemas/v1/"
	schemaSuffix = ".schema.json"
	eventSchema  = schemaBase + "event" + schemaSuffix
)

// SchemaURI returns the ce-dataschema of a message kind: the JSON Schema file of that name in this package.
func SchemaURI(name string) string { return schemaBase + name + schemaSuffix }

// checkSchema refuses a message that says it follows another schema. One that does not say follows ours.
func checkSchema(h map[string][]string, want string) error {
	if got := header(h, HeaderDataSchema); got != "" && got != want {
		return fmt.Errorf("schema is %s, not %s", got, want)
	}
	return nil
}
