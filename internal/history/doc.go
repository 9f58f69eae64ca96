// Package history answers questions about the past from the log alone: the versions of a record, what changed between two
// moments, and which state the log was in at one.
//
// # What is kept
//
// The log keeps the last versions of each subject, 16 unless the stream says otherwise, however old. So the past reaches
// back for each record as far as its own changes allow, and a question about a moment has an answer only if all records
// that it is about have:
//
//	record A  created ──────────────── changed ─────────────────────────   kept from its first version on
//	record B  (created, 20 changes) ····················├ changed ├ ...    the oldest that is kept has a previous_seq
//	                        ▲                                ▲
//	                        here B is a gap                  here both are covered
//
// An event names the one before it (previous_seq), which tells a record that did not exist yet from one whose version is
// gone. A difference needs less than a state: the oldest event that is kept says what it changed, and so what was before.
// Messages that do not name the one before, links, are a gap where as many are kept as there can be and none from then.
// Definitions and pipelines that are gone are replaced by the nearest later ones.
//
// A stream with limits of age, bytes or messages forgets whole records, which leaves no trace: a state of such a log is not
// covered once anything was dropped, nor is a difference from a moment before its first message.
//
// A log has a beginning: of records that HubSpot had before, the first load brings the state of that moment. Before it ended, a
// state lacks what was not loaded yet, so it is not covered either, of the object types whose load had not ended. A difference
// tells such records apart: loaded are those that HubSpot had before, created those that it created, or that a source saw being
// created, in between. What a comparison, a poll or a later full read finds that was missed is no first load.
//
// Whatever was erased for privacy is erased at all times.
//
// # Promises
//
//   - a version says what changed, with the values before and after, when, by which way of reading
//     (TestVersionsHaveWhatChangedWithOldAndNewValues)
//   - a moment is a time, an age or a sequence; a time means what was logged by then (TestMomentsAreTimesAgesAndSequences)
//   - what changed between two moments is what a comparison of both states would say (TestDiffSaysWhatBecameOfEveryRecord),
//     or it is refused with every record of which that is not known any more, and from when on it is
//     (TestDiffEqualsTheModelOrSaysWhatIsGone)
//   - the state at a moment is each subject's newest message by then, one that is gone is named
//     (TestTheStateAtAMomentIsTheNewestMessageOfEverySubject); what HubSpot created later was not there
//     (TestARecordThatWasCreatedLaterIsNoGap)
//   - before the log, or the end of an object type's first load, there is no state, and it is said from when on there is one
//     (TestAMomentBeforeTheFirstLoadEndedIsNotCovered), whatever a later full read finds
//     (TestWhatALaterFullReadFindsIsNoFirstLoad); what the first load brought was not created
//     (TestWhatTheFirstLoadBroughtWasNotCreated)
//   - a log that may have forgotten whole records says so (TestALogWithLimitsSaysThatItMayHaveForgottenRecords)
//   - what was erased later is erased (TestWhatWasErasedLaterIsErasedAtAllTimes); missing definitions have a substitute
//     (TestDefinitionsThatAreGoneAreReplacedByTheNearestLaterOnes)
//   - who follows the log gets every message once and in order, though NATS restarts (TestFollowOutlastsARestartOfNATS), and
//     an error where the stream is another one (TestFollowEndsWithWhatItsFunctionReturns)
package history
