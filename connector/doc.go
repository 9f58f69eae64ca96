// Package connector turns a HubSpot portal into an ordered, replayable log on NATS JetStream.
//
// # How a change gets into the log
//
// HubSpot is read in several ways: whole (backfill), what changed (poll), and, given webhooks, what HubSpot says changed.
// All of them bring pages of records, and all pages go through one function, objectLog.Append:
//
//	page of records ──▶ last event of each record, one batched read of the log
//	                         │
//	                         ├─ the same state, or an older one ........ dropped
//	                         ├─ contradicts the log, may be stale ...... read again from HubSpot's primary store
//	                         ▼
//	     ┌─ one atomic batch ──────────────────────────────────────────────────┐
//	     │ hubspot.7.contacts.101      if the subject's last message is 8810   │
//	     │ hubspot.7.contacts.105      if it has none                          │
//	     │ hubspot.7._cursor.contacts  if its last message is 9120             │
//	     └─────────────────────────────────────────────────────────────────────┘
//	                         │
//	        stored ◀─────────┼────────▶ refused (10071), as a whole
//	                         │               ├─ the cursor is where we left it: a record moved. Look again, retry
//	    no answer: look      │               ├─ the cursor is the one we tried: the answer got lost. Stored
//	    at the cursor ◀──────┘               └─ the cursor is someone else's: another source leads. ErrStandby
//
// The cursor says how far the source has read. As it travels in the batch of the page it accounts for, a crash at any
// moment leaves the page and the cursor, or neither. The guards are in the server, so that nothing depends on clocks,
// leases or on one source knowing of the other.
//
// # How a change is found
//
// The only feed that HubSpot has is its search index, which is late and out of order, shows at most 10,000 results, and
// sorts by one key. A poll therefore asks for what was modified since a time and walks the answer by record id: nothing
// that happens meanwhile can move a record past the walk.
//
//	           reach (15 min)          settle (learned) overlap (10 s)
//	──────────┬────────────────────────┬───────────────┬─────────┬──▶ now
//	late pass ├────────────────────────────────────────────────────┤   what the index shows far too late
//	deep pass                          ├───────────────────────────┤   from where the last one's certainty ended
//	fast pass                                          ├─────────┤   only if the others cost more than a request
//	                                   ▲
//	                            complete_through
//
// All passes go through Append, which drops what the log has: overlap costs quota, never duplicates. After a deep pass
// everything modified up to the settle time before its start is in the log, and the cursor's complete_through, the
// watermark, says so. It is zero until the first full read is done. Search may leave rows out that changed just now; its total
// counts them, and the page is asked for again. A row that it leaves out and does not count cannot be told from one that it
// does not know yet: that is what the settle time is for.
//
// The settle time is learned: a change that a pass asked for and did not get was late by at least its age then. It is the
// longest such lag of the last three to six hours and a little more, never under a minute, and survives a restart (settling).
// Before a thousand changes were seen that are old enough for the late ones of their time to have been seen, too, it is at
// least 100 s (TestManyEarlyChangesSayNothingAboutLateOnes). Values that are calculated change without a modification time: nothing finds
// them but reading all records again, once a day (rereading).
//
// # How the end of a record is found
//
// HubSpot says nothing of ends: archiving, restoring and merging away move no modification time, and search shows neither
// archived nor merged-away records. Without webhooks they are found like this:
//
//	archived, restored   a walk over the whole recycle bin, compared with what the log has as archived (archivedWalk)
//	merged away          a record's hs_merged_object_ids, in the same batch as the record (objectLog.absorb)
//	missing elsewhere    a doubtful record that is not there when it is read again is looked after at once
//	deleted for privacy  only by webhook or hubtail erase: the hint is the intent, and stays until all is erased (eraser)
//
// Records that were archived before the first read are in the log as archived: only so is their restoring noticed. merged_into
// is always the record that has it all now, also after a chain of merges. A record that HubSpot simply has no longer (a
// privacy deletion without a webhook, or past the recycle bin's 90 days) stays archived, with its values, until it is erased.
//
// # How a link is found
//
// HubSpot has no list of links that changed, and a link that comes or goes alone changes no record. What is read is a set: all
// links from one record to one object type. Three ways lead to one (linkReader):
//
//	a record has a new event    the reader follows the log from a position in the cursor, and reads the links of what it
//	                            meets, up to 1,000 records a request; a crash between record and links loses nothing
//	a webhook names it          its hint is read at once
//	neither                     a sweep reads the links of all records over and over, with 2 % of the daily quota: 55 min a
//	                            turn for 45,000 records. It walks the log, not HubSpot, for ids. The first turn, and that of
//	                            a pair that is new, is as fast as it gets
//
// A link is in two sets, which cannot be read at one moment. A set that changed names the records at the other end; their sets
// are read after it, those that changed theirs likewise, until both ends agree, and then all are in the log, the last one found
// first. A set is one message: 16,000 links fit into NATS' default max_payload of 1 MB, 130,000 into the embedded server's 8
// MB; a larger set is a dead letter that says so.
//
// # Two sources at once
//
// The guards above let any number of sources run without harm; a lease in a NATS KV bucket keeps them from spending the
// quota twice:
//
//	     ┌──────── key expires after 12 s, renewed every 3 s ────────┐
//	     ▼                                                           │
//	standing by ──── no key: create it ────▶ leading ── renewal refused, another source has it
//	(looks every 0.7 s; asks                    │
//	 HubSpot nothing)                           └── told to stop: ends its work, deletes the key
//
// Whoever leads reads everything; who loses the lease stops all of that (Source.lead) and stands by. The lease decides
// nothing else: a leader that slept through its expiry still believes in it, and is refused by the cursor's guard.
//
// # Promises
//
//   - a page and its cursor are in the log together or not at all
//     (TestPageAndCursorAreInTheLogTogetherOrNotAtAll, TestKillNineLeavesNoPartialPageAndNoDuplicate,
//     TestKillNineOfASourceDuringLoadAndChangesLosesAndDoublesNothing)
//   - two sources at once never publish a page twice (TestTwoSourcesRacingNeverPublishAPageTwice), nor does a record that
//     someone else writes meanwhile spoil a page (TestConflictOnARecordIsReadAgainAndRetried)
//   - a lost acknowledgement or an outage of NATS doubles and loses nothing
//     (TestLostAcknowledgementDoublesNothing, TestAppendWaitsWhileNATSIsAway)
//   - overlapping polls make no duplicate events (TestOverlappingPollsMakeNoDuplicateEvents)
//   - an older state never overwrites a newer one (TestOlderStateNeverOverwrites)
//   - stale search results are not believed (TestDoubtfulRecordsAreReadAgainBeforeTheyArePublished)
//   - cleared values are in changed, with their previous ones (TestClearedValuesAreChangedWithTheirPreviousOnes)
//   - nobody is sent a welcome mail for a record that was there before (TestRecordsOlderThanTheHistoryAreSnapshots)
//   - a malformed or oversized record does not stop the others
//     (TestMalformedAndOversizedRecordsBecomeDeadLettersOnceAndTheRestFlows)
//   - broken answers of HubSpot lose nothing (TestFaultsOfHubSpotLoseNothing),
//     nor do records whose id is unreadable for a moment (TestPagesWithUnreadableIDsAreReadAgain), nor a list that, with
//     search out of order, claims too early that nothing follows (TestAListAloneEndsWhereTheRecordsEnd)
//   - the watermark never claims what was not read (TestWatermarkNeverClaimsAGap). How late search is is learned
//     (TestSettleTimeFollowsTheIndex, TestSettlingLearnsOnlyFromWhatAPassAskedForInVain); once it is known the watermark is
//     right (TestWatermarkIsRightOnceTheLagIsKnown). If search falls behind without a sign, the watermark is wrong until the
//     first late change turns up; then it waits longer and reads again at once, and the cursor counts what came late
//     (TestSettleTimeGrowsAtOnceWhenTheIndexFallsBehind, TestWatermarkReadsAgainWhenTheSettleTimeGrows)
//   - a wrong Date header moves no watermark (TestAWrongDateHeaderLosesNothing), and one of the future in the log is put
//     right (TestWatermarkOfTheFutureIsPutRight)
//   - no watermark claims what an answer of search counts and leaves out, or whose id it garbles: the page is asked for again,
//     and if that does not help the watermark waits (TestARowThatSearchLeavesOutIsNotClaimed,
//     TestResultsThatAreCountedButMissingAreNotClaimed, TestARecordWithoutReadableIDIsReadAgain), not longer than
//     15 min (TestARowThatSearchNeverShowsDelaysTheWatermarkByTheReach, TestAPassWithResultsMissingProvesOnlyWhatIsPastTheReach)
//   - a long poll shows life (TestALongPassOfUnchangedRecordsShowsLife); a long load reaches back for what search shows late
//     (TestALongLoadReachesBackForWhatSearchShowsLate)
//   - values that change without a modification time are in the log within a day, or as 3 % of the quota allow
//     (TestCalculatedValuesReachTheLogWithinATurn, TestATurnGoesOnWhileTheSourceRuns, TestATurnEndsOnlyWhereTheRecordsEnd,
//     TestTurnsStayWithinTheirShareOfTheQuota)
//   - every change of a property definition is a message (TestEveryChangeOfADefinitionIsAMessage), at once where something
//     names an unknown one (TestAnUnknownPropertyIsReadAtOnce), and only from who leads
//     (TestWhoDoesNotLeadPublishesNoDefinitions)
//   - owners that paging hides are found (TestOwnersThatPagingHidesAreFound), and those that come and go without a sign
//     (TestAnOwnerComesAndGoesWithoutASign)
//   - status knows how many records there are, after a restart, too (TestRecordsAreCounted)
//   - index lag, bulk changes in one millisecond and changes while paging lose nothing
//     (TestIndexLagLosesNothingBeforeTheWatermark, TestTwelveThousandChangesInOneMillisecondAreAllFound,
//     TestChangesWhilePagingLoseNothing), nor does an index later than the settle time, in the end
//     (TestChangesThatTheIndexShowsFarTooLateArriveAllTheSame)
//   - all of that at once, at random, under storms of errors and with the source killed now and then: nothing is lost, wrong,
//     doubled or out of order, and every watermark keeps its word at the place where it stands
//     (TestChaosLosesNothing, TestChaosWithWebhooksLosesNothing; make chaos for a million changes, and what the cursor rules
//     of other connectors lose: TestChaosSeesWhatOtherRulesLose)
//   - what a full read will cost is known before, within a fifth and five requests, and asking it writes nothing
//     (TestBackfillPlanIsWhatTheBackfillThenCosts, TestLoadForecastTakesTheTimeThatTheQuotaAllows, TestBackfillPlanWritesNothing)
//   - a cycle without changes costs one request per object type, one with a hundred at most two, an idle portal under a
//     fifth of the smallest daily quota (TestAQuietCycleCostsOneRequest, TestIdlePortalStaysWithinAFifthOfTheQuota)
//   - values of a new property reach the log though no record changed (TestNewPropertyIsReadForAllRecords), after a crash
//     in between, too (TestANewPropertysValuesAreFetchedAfterACrash)
//   - an object type that the token may not read does not stop the others (TestForbiddenObjectDoesNotStopTheOthers), custom
//     ones that cannot be looked up included (TestCustomObjectsThatTheTokenMayNotReadDoNotStopTheOthers)
//   - every object type of a portal can be read at once (TestAllObjectsAreReadAtOnce), by any of its names
//     (TestObjectTypesHaveManyNames); what the token may not read is left out until it may (TestAllLeavesOutWhatTheTokenMayNotRead)
//   - a custom object type that appears is read without a restart, also one that was named before it was there
//     (TestACustomObjectThatAppearsIsReadWithoutARestart, TestACustomObjectThatAppearsIsPartOfAll); receivers beside
//     a source that does not lead, or none, learn it from the log (TestReceiversLearnCustomObjectsThatAppear), which they ask now
//     and then (TestTypeIDsThatAreUnknownAreNotLookedForEveryTime); a webhook whose type cannot be looked up is not acknowledged
//     (TestAWebhookWhoseTypeCannotBeLookedUpIsNotAcknowledged); one that disappears is told of once and asked for no longer,
//     until it is back (TestACustomObjectThatDisappearsIsAskedForNoLonger); a one-shot run needs those that are named
//     (TestAOneShotRunNeedsTheCustomObjectsThatAreNamed)
//   - the links of all records are in the log (TestLinksOfAllRecordsAreReadAfterTheFullRead), after one-shot runs, too
//     (TestSyncReadsLinksToo); a set is published when it changed (TestASetOfLinksIsPublishedWhenItChanges,
//     TestAQuietSweepPublishesNoSet), with labels and types (TestAChangeOfLabelsAndTypesIsAChangeOfLinks), however many pages
//     it has (TestARecordWithManyPagesOfLinksIsReadWhole, TestASetIsAsLargeAsAMessageMayBe)
//   - links are read again after a record changed (TestLinksOfAChangedRecordAreRead), archived, restored, merged and purged
//     ones included (TestRecordsThatEndHaveNoLinks); at once where a webhook names them
//     (TestLinksThatAWebhookNamesAreReadAtOnce); and by the sweep alone where nothing does, removals too
//     (TestChangesOfLinksAloneAreFoundByTheSweep)
//   - both ends of a link agree, though they are read one after the other: who is linked to a record that ended is looked at,
//     whoever noticed first (TestRecordsAtTheOtherEndOfAllThatARecordLostAreRead), and what changes in between is read again
//     (TestALinkThatGoesWhileItsEndsAreReadIsInTheLogOfNeither); a record that was archived too briefly to be noticed has its
//     links back (TestLinksOfARecordThatWasAwayForAMomentComeBack); hints about links that are not read are forgotten
//     (TestHintsAboutLinksThatNobodyReadsAreForgotten)
//   - a crash between a record and its links loses nothing (TestLinksOfARecordWhoseReaderDiedAreReadByTheNext), one during a
//     sweep does not begin it anew (TestKillNineDuringASweepGoesOnWhereItWas,
//     TestAWalkOverTheLogHandsOutEveryRecordOnceAndGoesOn)
//   - links that the token may not read are told once and stop nothing (TestAPairWithoutScopeIsToldOnceAndStopsNothing);
//     pairs are found, or chosen (TestPairsCanBeChosen); on an idle portal all of it stays at 2 % of the daily quota
//     (TestAnIdlePortalSpendsTwoPercentOfTheQuotaOnLinks)
//   - a refused token stops all calls (TestRefusedTokenStopsTheSource)
//   - of several sources of a portal one reads, all object types together (TestALeaseHasOneHolderAtATime,
//     TestOfTwoSourcesStartedTogetherOneReads); another takes over within 20 s of its death, at once when it is stopped
//     (TestStandbyTakesOver, TestKillNineOfTheLeaderHandsOverWithin20Seconds, TestAStoppedLeaderHandsOverWithinTwoSeconds)
//   - a leader that was paused and wakes up cannot write, and whatever becomes of several sources loses and doubles nothing
//     (TestAPausedLeaderThatWakesUpCannotWrite, TestThreeSourcesWithRandomKillsLoseAndDoubleNothing)
//   - who leads is agreed on again after an outage of NATS (TestALeaderGoesOnAfterAnOutageOfNATSUnlessAnotherTookOver,
//     TestAHolderThatLostItsLeaseStopsAndStandsBy, TestALeaseWhoseBucketWasDeletedIsTakenAgain)
//   - a pass beside a running source takes nothing from it and says who leads (TestAPassBesideARunningSourceSaysWhoLeads);
//     two passes take turns (TestTwoPassesAtOnceTakeTurns)
//   - a burst of webhooks about one record is one hint (TestABurstAboutOneRecordIsOneHint), one that comes while its record
//     is being read leads to another read (TestAHintThatComesWhileItsRecordIsBeingReadLeadsToAnotherRead)
//   - every kind of change arrives by webhook alone (TestEveryKindOfChangeArrivesByWebhook,
//     TestEveryEventBecomesTheHintsItNeeds), whatever comes twice or out of order (TestDuplicatesAndDisorderDoubleNothing);
//     a record that changes while it is read is read again (TestARecordThatChangesWhileItIsReadIsReadAgain)
//   - HubSpot is told that a webhook arrived once its hints are on disk (TestAHintIsStoredBeforeHubSpotIsTold); deliveries at
//     the same time share one write (TestDeliveriesAtTheSameTimeAreOneWrite), of which none harms or holds up another
//     (TestADeliveryThatCannotBeStoredHarmsNoOther, TestADeliveryWhoseConnectionBrokeHoldsUpNoOther,
//     TestADeliveryWhoseTimeIsOverHoldsUpNoOther); forged,
//     stale, oversized and malformed deliveries change nothing
//     (TestForgedStaleOversizedAndMalformedDeliveriesChangeNothing), what nothing is read for is taken and forgotten
//     (TestWhatNothingIsReadForIsTakenAndForgotten), and values of other types than documented are taken as what they mean
//     (TestTimesAndPortalsAreReadInWhateverTypeTheyCome)
//   - hints survive kill -9 of a source (TestHintsSurviveKillNineOfTheSource) and an outage of HubSpot
//     (TestHintsWaitWhileHubSpotIsAway); no id keeps others back (TestAnIDThatIsNoneKeepsNobodyBack); standbys leave them
//     alone (TestOnlyTheLeaderWorksOffHints)
//   - the more webhooks come the more records a read brings (TestTheMoreHappensTheMoreRecordsARead), and what they should
//     have told of and did not is noticed (TestAChangeThatNoWebhookToldOfIsNoticed), also that none comes at all
//     (TestAReceiverThatHearsNothingIsNoticed)
//   - hints are gone only once they were worked off: those of a taker that died, stopped or failed are handed out again
//     (TestHintsOfATakerThatDiedAreHandedOutAgain, TestHintsThatWereNotWorkedOffAreHandedOutAgainAtOnce), nobody else's
//     meanwhile (TestHintsInWorkAreHandedToNobodyElse)
//   - whatever differs between HubSpot and the log all the same is found by a comparison of both, nothing else is, though
//     the portal changes meanwhile, and one repair leaves none (TestVerifyFindsAndRepairsEveryKindOfDifference,
//     TestVerifyFindsOtherLinksAndDefinitions); it costs the list alone (TestVerifyOfAnEqualPortalCostsTheListAlone,
//     TestVerifyOfManyPropertiesComparesTimesUnlessAskedForAll), takes the lead from nobody
//     (TestVerifyBesideALeaderTakesNoLead) and overwrites nothing newer (TestARepairRefusedByANewerEventLooksAgain,
//     TestARepairWhoseAnswerIsLostIsNotDoubled); a source makes it by itself (TestASourceVerifiesAndRepairsByItself)
//   - what is archived or restored reaches the log without a webhook (TestArchivedAndRestoredRecordsAreFoundWithoutAWebhook),
//     also what was archived before the first read (TestWhatWasArchivedBeforeTheFirstReadIsInTheLogAsArchived) or restored
//     while no source ran (TestARestoreWhileNoSourceRanIsFound), or right before the first read, by the comparison that
//     follows it (TestARestoreRightBeforeTheFirstReadIsFound), whatever pages HubSpot answers
//     (TestAWalkIsNotMisledByBrokenPages); an interrupted walk goes on (TestAnInterruptedWalkGoesOnWhereItWas); it is there
//     a walk later at most (TestEndsAreInTheLogWithinAWalkOfHappening)
//   - walks over recycle bins take at most 2 % of the daily quota (TestWalksOverRecycleBinsStayWithinTheirShareOfTheQuota),
//     and ask for what is gone for good once (TestWhatLeftTheRecycleBinForGoodIsAskedForOnce)
//   - a record that another read misses is looked after at once (TestARecordThatOtherReadsMissIsLookedAfterAtOnce)
//   - the losers of a merge end in the batch of their winner (TestLosersOfAMergeEndInTheBatchOfTheirWinner), 250 of them too
//     (TestTwoHundredAndFiftyMergesFitIntoOneBatch), whichever id the result has (TestMergesAreFoundWithoutAWebhook), in
//     chains (TestALoserFollowsAChainOfMerges, TestAChainOfMergesWithinOnePage); none comes back
//     (TestALoserThatTheIndexStillShowsDoesNotComeBack)
//   - a privacy deletion leaves no value in the log (TestAPrivacyDeletionLeavesNoValueInTheLog,
//     TestWhatComesIntoTheLogDuringAPrivacyDeletionIsErasedToo, TestAStreamThatForbidsDeletingIsPurgedAllTheSame), and
//     nothing of it ever comes back (TestAnErasedRecordNeverComesBack, TestAPrivacyDeletionByWebhookErasesTheContact,
//     TestDeadLettersAndLinksOfAnErasedRecordStayAway), not even what is on its way (TestAnErasureWhileARecordIsReadAgainLeavesNoDeadLetter,
//     TestAnErasureBetweenLookAndAppendRefusesWhatBelongsToIt);
//     all that was merged into it goes with it, whoever says so, and though it never was in the log
//     (TestAllThatWasMergedIntoAnErasedRecordIsErased, TestARecordThatIsMergedWhileItsWinnerIsErasedIsErasedToo,
//     TestWhatIsMergedIntoAnErasedRecordIsErasedToo,
//     TestAMergeAndAPrivacyDeletionInAnyOrderLeaveNoValue, TestAMergeIsRememberedThoughMoreIsToldOfItsRecord);
//     an id that is none is dropped
//     (TestAPrivacyDeletionOfAnIDThatIsNoneIsDropped); a crash at any step is made up for
//     (TestACrashAtAnyStepOfAPrivacyDeletionIsMadeUpFor); it needs no running source and disturbs none
//     (TestEraseByHandWithoutARunningSource, TestEraseByHandBesideARunningSource,
//     TestASyncErasesWhatHintsSayWasDeletedForPrivacy)
//   - none that a webhook tells of is forgotten: not of an object type that is not read any longer
//     (TestAPrivacyDeletionOfATypeThatIsNotReadAnyLongerErasesIt) or whose reading fails
//     (TestAPrivacyDeletionThatItsFollowerDoesNotTakeIsDoneAllTheSame); one that cannot be read is refused, so that HubSpot
//     shows it (TestAPrivacyDeletionThatCannotBeReadIsAskedForAgain)
//   - everything stops within a bound when the context ends (TestRunStopsWithItsContext)
package connector
