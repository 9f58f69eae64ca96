// Package schemas is the contract of the log: every message on it, as a Go type with the only codec, as a JSON Schema and
// in an AsyncAPI document. It imports nothing but the standard library. The same contract as tables, for readers in any
// language, is in this directory's README.md.
//
// # The log
//
// A NATS JetStream stream holds what happens in a HubSpot portal. Each subject is one thing that changes: a record, the
// links of a record, an object type's definitions, cursor or last run. The newest message of a subject says all about
// it, so that the newest of all subjects are the whole CRM as it is now, and older ones are how it came to be so.
//
//	hubspot.147893286.contacts.713492963559
//	   │        │         │         └ record      Event: the record's full state, what changed, what was before
//	   │        │         └ object type
//	   │        └ portal
//	   └ Root
//	hubspot.147893286._links.contacts.713492963559.companies    Links
//	hubspot.147893286._properties.contacts                      PropertyDefinitions
//	hubspot.147893286._pipelines.deals                          Pipelines
//	hubspot.147893286._cursor.contacts                          Cursor, with the watermark
//	hubspot.147893286._run.contacts                             Run
//	hubspot.147893286._dead_letter.contacts.713492963559        DeadLetter
//
// Beside it stands a work queue of what HubSpot's webhooks say, Hint, on subjects of its own (HintRoot): what the source
// is still to read. A hint holds no values, and hints about one thing replace each other.
//
// # Reading it
//
// ParseSubject says what a message is about without looking at its body. DecodeEvent reads change events,
// DecodeControl everything else. A message is delivered at least once; whoever applies it keeps the stream sequence of
// what was applied last for the subject and skips what is not newer.
//
//	for each message:
//	    ParseSubject ──ErrUnknownKind──▶ of a later version: skip
//	         │
//	         ├─ sequence not newer ────▶ applied already: skip
//	         ▼
//	    DecodeEvent / DecodeControl ──error──▶ put aside with the reason; the rest flows
//	         ▼
//	      apply
//
// A decoder refuses what contradicts itself: a body that is not about its subject, a content hash that is not that of
// the values, an op that its flags deny, a list that is missing where "none" would delete something.
//
// # Canonical form
//
// Properties are kept as text: one JSON object in a form in which equal values have equal bytes. What HubSpot sends is
// brought into this form once, when it is read; comparing, hashing and writing it into an event are then operations on
// bytes, and a reader that wants only some of the values decodes only those.
//
// # Promises
//
//   - What any version of v1 wrote, every later one reads, and reads the same: TestV1GoldenEventsStillDecode.
//   - An event decodes to what was encoded, to the millisecond: TestEventsDecodeToWhatWasEncoded; so does a control
//     message: TestControlsDecodeToWhatWasEncoded. Both satisfy their JSON Schemas.
//   - Encoding what was decoded gives the same bytes: TestGoodVectorsAreTheCodecsOwnBytes.
//   - What the contract forbids is refused, with a reason: TestFailVectorsAreRefused.
//   - Every subject is one that NATS can store and address, and reads back: FuzzParseSubject.
//   - Properties are canonical, whatever order, escapes and repetitions they came in: TestPropertiesAreCanonical,
//     FuzzParseProperties (against encoding/json).
//   - Hints about one thing replace each other and no others, whatever their ids: TestHintsShareASubjectOnlyIfTheyAskForTheSame;
//     each is seen by one filter: TestHintFiltersHaveNothingInCommon.
//   - No text is lost, half characters and NULs included: FuzzAppendString.
//   - States that differ have different content hashes: TestContentHashTellsStatesApart.
//   - A change has the same CloudEvents id however it is found, and no other has it: TestCEIDIsTheSameForTheSameChange.
//   - Messages of a later version can be told apart and skipped: TestUnknownKindsCanBeSkipped.
//   - Hostile input costs neither stack nor a crash: TestScannerRefuses, FuzzDecodeEvent, FuzzDecodeControl.
package schemas
