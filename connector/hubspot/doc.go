// Package hubspot is the client of HubSpot's CRM API: it reads lists, searches, batches, definitions, owners, pipelines and
// associations, and checks the signatures of webhooks. It knows no log and no tables.
//
//	caller ──▶ breaker ──▶ budget ──▶ attempt ──▶ page reader ──▶ Record
//	             │           │           │
//	        waits while   waits for   plan: retry later, or return an error
//	        HubSpot is    a slot      that says what to do
//	        down
//
// All waiting because of HubSpot happens in here. A call returns when it has its answer, when its context ends, or with an error
// that repetition does not help (or has not helped for minutes). Usage shows what is being waited for.
//
// # Promises
//
//   - An answer that cannot be read (no JSON, cut, not UTF-8, without results) is an error, never an empty page
//     (TestPageUnreadableIsAnError).
//   - The text of an error is bounded and has nothing that a terminal would obey (TestAnErrorMovesNoCursor).
//   - A malformed record in a readable answer is rejected alone, with its text; the others survive
//     (TestPageMalformedRecordIsRejectedAlone).
//   - Unknown members, other orders of members and missing optional ones change nothing (TestPage, FuzzPage).
//   - The quota is spent close to its limit without earning a 429: a slot is used again when, by the evidence of sending and
//     answering times, the request that had it no longer counts at HubSpot. Limits are learned from the headers
//     (TestBudgetSpendsTheBurstQuotaWithoutA429, TestBudgetSpendsTheSearchQuotaWithoutA429,
//     TestBudgetLearnsTheLimitFromHeaders, TestBudgetOverRealSockets).
//   - Lists leave room for five searches a second while there are searches, and nothing when there are none
//     (TestBudgetKeepsRoomForSearches, TestBudgetLeavesNothingForSearchesNobodyMakes).
//   - Higher priorities go first; the lowest still gets its turn within minutes (TestBudgetServesHigherPrioritiesFirst,
//     TestBudgetNeverStarvesLowPriorities, TestBudgetKeepsRoomForHigherPriorities).
//   - A share of the daily quota is left to others, and the last tenth of ours to changes; a share of the burst quota and of
//     the searches, too, if asked for. Without quota everything parks until midnight in the account's time zone
//     (TestDailyShareIsLeftForOthers, TestBurstShareIsLeftForOthers, TestDailyLimitParksUntilMidnightOfTheAccount,
//     TestTheDayEndsAtTheAccountsMidnight).
//   - Neighbours who spend the same quota are noticed and get their room (TestBudgetMakesRoomForNeighbours): as much as they
//     lately took at most, so that under a thousandth of our requests is denied (TestBudgetBesideNeighbours). What is left
//     is used to 90 % (BenchmarkBudget prints it for neighbours of nine kinds).
//   - Every status HubSpot documents is retried, or not, as it asks; an outage pauses everything but one probe, and work goes
//     on by itself (TestRetryFollowsTheErrorTable, TestBreakerPausesAndRecoversByItself).
//   - A long list of properties works: what does not fit into a URL is read by ids and batches (TestListReadsEverything).
//   - The token is sent to the configured host only and is in no error (TestTokenIsNotSentToAnotherHost).
//
// # Search and the burst quota
//
// HubSpot does not say whether searches of private apps count in the ten-second quota. They are taken to count until the
// Remaining header proves that they do not; and again as soon as a 429 says otherwise.
package hubspot
