package schemas

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

// SchemaURI returns the ce-dataschema of a message kind: the JSON Schema file of that name in this package.
func SchemaURI(name string) string {
	return "https://github.com/hubtail/hubtail/schemas/v1/" + name + ".schema.json"
}
