package schemas

import "strconv"

// Encode returns the event as a message of the log. An empty Hash is filled in. Whether DecodeEvent will take the message
// is Validate's to say.
func (e *Event) Encode() Message {
	if e.Hash == "" {
		e.Hash = ContentHash(e.Archived, e.MergedInto, e.Properties)
	}
	// The texts that have to be put together share one string.
	text := e.appendCEID(make([]byte, 0, 256))
	idEnd := len(text)
	text = append(append(text, Root+"/"...), e.Portal...)
	sourceEnd := len(text)
	text = append(append(append(append(text, Root+"."...), e.Object...), '.'), e.Op...)
	typeEnd := len(text)
	text = appendTime(text, e.UpdatedAt)
	timeEnd := len(text)
	text = Subject{Kind: KindRecord, Portal: e.Portal, Object: e.Object, ID: e.ID}.appendTo(text)
	all := string(text)
	time := all[typeEnd:timeEnd]

	values := [...]string{
		headerValue(all[:idEnd]), "1.0", headerValue(all[idEnd:sourceEnd]), headerValue(all[sourceEnd:typeEnd]),
		headerValue(e.ID), time, eventSchema, contentType, e.Hash, string(e.Origin),
	}
	header := make(map[string][]string, len(values))
	for i, name := range eventHeaders {
		header[name] = values[i : i+1 : i+1]
	}
	return Message{Subject: all[timeEnd:], Header: header, Data: e.appendBody(make([]byte, 0, e.sizeHint()), time)}
}

// eventHeaders are the headers of an event, in the order in which Encode lists their values.
var eventHeaders = [...]string{
	HeaderID, HeaderSpecVersion, HeaderSource, HeaderType, HeaderSubject, HeaderTime,
	HeaderDataSchema, HeaderContentType, HeaderHash, HeaderOrigin,
}

// CEID returns the event's CloudEvents id, `<object>:<id>:<updatedAt ms>:<hash>`, and `:<previous_seq>` if SameTime: a
// state can come back (a restored record has its old modification time and values), an id must not. Hash must be set.
func (e *Event) CEID() string {
	return string(e.appendCEID(make([]byte, 0, 128)))
}

func (e *Event) appendCEID(b []byte) []byte {
	b = append(append(b, e.Object...), ':')
	b = append(append(b, e.ID...), ':')
	b = strconv.AppendInt(b, e.UpdatedAt.UnixMilli(), 10)
	b = append(append(b, ':'), e.Hash...)
	if e.SameTime {
		b = strconv.AppendUint(append(b, ':'), e.PreviousSeq, 10)
	}
	return b
}

func (e *Event) sizeHint() int {
	n := len(e.Properties) + len(e.Previous) + 400
	for _, name := range e.Changed {
		n += len(name) + len(`"",`)
	}
	return n
}

// appendBody appends the body; updatedAt is the text of UpdatedAt.
func (e *Event) appendBody(b []byte, updatedAt string) []byte {
	b = AppendString(append(b, `{"portal":`...), e.Portal)
	b = AppendString(append(b, `,"object":`...), e.Object)
	b = AppendString(append(b, `,"object_type_id":`...), e.ObjectTypeID)
	b = AppendString(append(b, `,"id":`...), e.ID)
	b = AppendString(append(b, `,"op":`...), string(e.Op))
	b = strconv.AppendBool(append(b, `,"archived":`...), e.Archived)
	if !e.CreatedAt.IsZero() {
		b = append(appendTime(append(b, `,"created_at":"`...), e.CreatedAt), '"')
	}
	b = append(append(append(b, `,"updated_at":"`...), updatedAt...), '"')
	if !e.ArchivedAt.IsZero() {
		b = append(appendTime(append(b, `,"archived_at":"`...), e.ArchivedAt), '"')
	}
	if e.MergedInto != "" {
		b = AppendString(append(b, `,"merged_into":`...), e.MergedInto)
	}
	b = append(append(b, `,"properties":`...), e.Properties.orEmpty()...)
	b = append(b, `,"changed":[`...)
	for i, name := range e.Changed {
		if i > 0 {
			b = append(b, ',')
		}
		b = AppendString(b, name)
	}
	b = append(append(b, `],"previous":`...), e.Previous.orEmpty()...)
	b = strconv.AppendUint(append(b, `,"previous_seq":`...), e.PreviousSeq, 10)
	return append(b, '}')
}
