package schemas

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// HintRoot is the first token of every subject of hints. They are no part of the log, but wait in a work queue of their
// own until the source has read what they are about.
const HintRoot = "hubspot-hints"

// HintKind says what a hint asks for.
type HintKind string

// The kinds of hint, by the subject they travel on.
const (
	HintRecord HintKind = "record" // hubspot-hints.<portal>.<object>.<id>: the record changed, read it
	HintLinks  HintKind = "links"  // hubspot-hints.<portal>._links.<object>.<id>.<to>: its associations changed, read them
	HintMerge  HintKind = "merge"  // hubspot-hints.<portal>._merge.<object>.<id>: it was merged into another one, read it
	HintPurge  HintKind = "purge"  // hubspot-hints.<portal>._purge.<object>.<id>: it was deleted for privacy, erase it
)

// Hint is HubSpot's word that something changed, and no more: it holds no values, and what is read counts. Hints about one
// thing replace each other, so that a burst costs one read.
type Hint struct {
	Kind   HintKind `json:"kind"`
	Portal string   `json:"portal"`
	Object string   `json:"object"`
	ID     string   `json:"id"`
	To     string   `json:"to,omitempty"` // object type at the other end, for HintLinks; "" means any

	MergedInto string `json:"merged_into,omitempty"` // record that has it now, for HintMerge

	OccurredAt time.Time `json:"occurred_at"`        // when HubSpot says that it happened; of the newest where several were collapsed
	Cause      string    `json:"cause"`              // subscription type, for example "contact.propertyChange"
	Property   string    `json:"property,omitempty"` // name of the property that changed, if the cause is one
}

// anyObject is the last token of the subject of a HintLinks without To. EncodeToken never makes it.
const anyObject = "_all"

// Subject returns where the hint travels.
func (h *Hint) Subject() string {
	b := appendToken([]byte(HintRoot+"."), h.Portal)
	if h.Kind != HintRecord {
		b = append(append(b, "._"...), h.Kind...)
	}
	b = appendToken(append(b, '.'), h.Object)
	b = appendToken(append(b, '.'), h.ID)
	switch {
	case h.Kind == HintLinks && h.To == "":
		b = append(b, "."+anyObject...)
	case h.Kind == HintLinks:
		b = appendToken(append(b, '.'), h.To)
	}
	return string(b)
}

// HintFilter returns the subjects of all hints of a kind about an object type. No two filters have a subject in common.
func HintFilter(kind HintKind, portal, object string) string {
	filter := HintRoot + "." + EncodeToken(portal) + "."
	switch kind {
	case HintLinks, HintMerge, HintPurge:
		filter += "_" + string(kind) + "."
	}
	filter += EncodeToken(object) + ".*"
	if kind == HintLinks {
		filter += ".*"
	}
	return filter
}

// Encode returns the hint as a message. It brings h into the form that a reader of the message will get.
func (h *Hint) Encode() (Message, error) {
	milliseconds(&h.OccurredAt)
	if err := h.check(); err != nil {
		return Message{}, fmt.Errorf("encode hint about %s %s: %w", h.Object, h.ID, err)
	}
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(h); err != nil {
		return Message{}, fmt.Errorf("encode hint about %s %s: %w", h.Object, h.ID, err)
	}
	return Message{
		Subject: h.Subject(),
		Header:  map[string][]string{HeaderContentType: {contentType}, HeaderDataSchema: {SchemaURI(hintSchema)}},
		Data:    bytes.TrimSuffix(data.Bytes(), []byte("\n")),
	}, nil
}

// DecodeHint reads a hint and checks it against its subject. Unknown members are ignored, another schema than this
// package's is refused.
func DecodeHint(m Message) (*Hint, error) {
	h := &Hint{}
	if err := h.decode(m); err != nil {
		return nil, fmt.Errorf("message on %s: %w", m.Subject, err)
	}
	return h, nil
}

const hintSchema = "hint"

func (h *Hint) decode(m Message) error {
	if !strings.HasPrefix(m.Subject, HintRoot+".") {
		return errors.New("subject is not of the form " + HintRoot + ".<portal>.<object>.<id>")
	}
	if err := checkSchema(m.Header, SchemaURI(hintSchema)); err != nil {
		return err
	}
	if !utf8.Valid(m.Data) {
		return errUTF8
	}
	if err := json.Unmarshal(m.Data, h); err != nil {
		return err
	}
	milliseconds(&h.OccurredAt)
	if err := h.check(); err != nil {
		return err
	}
	if subject := h.Subject(); subject != m.Subject {
		return fmt.Errorf("body is about %s, not about its subject", subject)
	}
	return nil
}

func (h *Hint) check() error {
	switch {
	case h.Kind != HintRecord && h.Kind != HintLinks && h.Kind != HintMerge && h.Kind != HintPurge:
		return fmt.Errorf("unknown kind of hint %q", h.Kind)
	case h.Portal == "" || h.Object == "" || h.ID == "":
		return errors.New("no portal, object or id")
	case h.To != "" && h.Kind != HintLinks:
		return fmt.Errorf("a hint of kind %s has no other end", h.Kind)
	case (h.MergedInto != "") != (h.Kind == HintMerge):
		return fmt.Errorf("a hint of kind %s with merged_into %q", h.Kind, h.MergedInto)
	case h.Cause == "":
		return errMissing("cause")
	}
	return nil
}
