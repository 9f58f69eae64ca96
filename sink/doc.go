// Package sink keeps Postgres tables equal to the log.
//
//	stream ─▶ collector ─▶ prepare ─▶ commit ─▶ ack
//	          batches of   decode,    one transaction:
//	          1,000 rows   cast,      rows, links, runs, cursors,
//	          or 2 MB      encode     dead letters, position
//
// The three stages work at the same time on three batches. A Sink is a durable consumer around an Applier; a rebuild or
// a replay is the same Applier around another reader.
//
// # The tables
//
// Every object type has a table, made from its property definitions, with a column per property in its type. A value is
// in its column, or, if it does not fit there (another type than declared, more than a row can hold, more properties than
// a table has columns, a NUL), in the row's _extra as HubSpot's own text, and the column is null. Names are HubSpot's,
// quoted, so "Amount" and "amount" are two columns; a name that is too long or taken gets a suffix that depends on
// nothing but the name, and the table properties says which column holds which property. The sink owns the columns it
// made; further columns, indexes, views, triggers and policies are the owner's and stay.
//
// # How a table comes to fit its definitions
//
// Definitions are noted in the catalogue at once, which takes no lock on the table. What they ask for follows in short
// transactions of their own, beside the writing of rows: columns are added; a property whose type changes gets a second
// column, which writers fill beside the first and a walk fills for earlier rows, batch by batch; when all is in it, it takes
// the other's place; and what _extra has that fits by now is taken out of it. A value is in its column or in _extra at
// every moment; how far all this is stands in objects and properties, so whichever sink comes next goes on.
// A table of 100,000 rows takes about five seconds, and is locked for ten milliseconds of them.
//
// # Why it is right
//
// An event is a record's full state, and a row carries the stream sequence of the event it is from (_seq). A row is only
// ever replaced whole, by a newer event. So neither order nor repetition matters, and any number of sinks may write at
// once; locks are taken in one order. Changes of a table's columns exclude writers by a transaction-level advisory lock,
// and a writer that prepared its rows for an older generation of the table prepares them again.
//
// The position is written in the transaction of the rows. It, not the consumer's ack floor, is the truth: after a crash,
// or over a database restored from a backup, a sink first applies what lies between the two.
//
// # Promises
//
//   - Every value of every event is in the tables, typed or as raw text; nothing is dropped, nothing is altered
//     (TestEveryValueLandsLossless, TestARandomScheduleEndsInTheModelsState, TestExtraKeepsEveryByte).
//   - What a cast accepts, Postgres would accept too, with the same meaning (TestValuesAreCastAsPostgresCasts,
//     TestRandomValuesAreCastAsPostgresCasts).
//   - An older event never overwrites a newer one, a repeated one writes nothing, and neither does a purged record come
//     back (TestOlderAndRepeatedEventsChangeNothing, TestOfOneRecordsEventsInABatchTheNewestCounts,
//     TestAPurgedRecordLeavesATombstone), also among rows that are copied (TestARowAmongNewOnesIsReplacedAllTheSame).
//     It does not even lock the row, which would be written to the WAL (TestAnUnchangedRowWritesNoWAL).
//   - The links of a record to an object type are those of its newest set, whatever came when
//     (TestASetOfLinksIsReplacedWhole, TestSetsOfLinksInAnyOrderEndInTheNewest), a hundred thousand of them too
//     (TestASetOfAHundredThousandLinksIsAppliedInSeconds); a purged record has none, from either end
//     (TestAPurgedRecordHasNoLinksFromEitherEnd).
//   - A deletion for privacy leaves no value of the record in any table: its row is a tombstone, links to and from it and its
//     dead letters are gone (TestADeletionForPrivacyLeavesNoValueInAnyTable). It is the last word, in whatever order
//     messages come (TestADeletionForPrivacyWinsInAnyOrder). It reaches every copy of the tables, shadow, old and as-of ones
//     (TestADeletionForPrivacyReachesEveryCopy), those that cannot take it at once later
//     (TestADeletionForPrivacyThatACopyCannotTakeIsNotForgotten), without waiting for them (TestACopyDroppedByHandHoldsNothingUp).
//     Where the owner's constraint refuses the tombstone the row is deleted, and stays away; where that is refused, too, a
//     dead letter stays, and verify and erase, of what was merged into it as well, name the row (TestADeletionForPrivacyThatTheOwnerRefusesIsNotLost).
//   - A message is acknowledged only after its transaction is committed (TestPostgresGoingAwayOnlyDelays,
//     TestStoppingCommitsAndAcknowledgesWhatWasBegun).
//   - A message that cannot be applied goes to dead_letters with its reason, payload and SQLSTATE; all others are applied
//     (TestBadEventsGoToDeadLettersAndTheRestFlows), whatever kind of message it is (TestABadMessageOfAnyKindIsIsolated), in
//     as many transactions per bad one as a batch has halves of halves (TestManyBadEventsInOneBatchAreIsolatedInBoundedWork). What
//     several sinks meet, one of them interrupted, is one dead letter (TestABadEventThatTwoSinksMeetIsOneDeadLetter).
//   - A dead letter that is redriven is applied under its own sequence, so it overwrites nothing newer, and is gone then
//     (TestARedrivenDeadLetterIsAppliedUnderItsOwnSequence); of an erased record nothing comes back
//     (TestADeadLetterOfAnErasedRecordNeverComesBack); one of the source goes once the record was read
//     (TestADeadLetterOfTheSourceGoesOnceTheRecordWasRead).
//   - While Postgres is away, read-only, full or locked, nothing is pulled, given up or lost; the sink goes on by itself
//     (TestPostgresGoingAwayOnlyDelays, TestAReadOnlyDatabaseIsWaitedFor, TestALockedTableIsWaitedFor, TestAFullDiskIsWaitedFor,
//     TestARestartOfNATSOnlyDelays), and says why it waits (TestEveryFaultOfPostgresIsWaitedForAndSaid). What takes too long
//     as a batch is tried in halves (TestABatchThatTakesTooLongIsHalved).
//   - Rights, tables, columns, the schema, the database or the login that are taken from a sink that works are waited for, too,
//     with what to do in its status (TestWhatIsTakenFromARunningSinkIsWaitedFor, TestADatabaseThatIsRenamedIsWaitedFor,
//     TestALoginRefusedAfterItWorkedIsWaitedFor), and what is made anew is filled (TestTablesMadeAnewUnderARunningSinkAreFilled).
//     Columns that may not be changed hold up no rows (TestColumnsThatMayNotBeChangedHoldUpNoRows).
//   - A sink that cannot keep up holds no more than its batches and one buffer, says how far it is behind, and catches up
//     (TestASlowSinkHoldsLittleSaysHowFarItIsBehindAndCatchesUp). Nothing is sent to it twice (TestASlowSinkIsSentNothingTwice).
//   - Connections that are cut or slow only delay (TestCutAndSlowConnectionsToPostgresOnlyDelay). One on which nothing comes
//     any more is noticed: to Postgres within 30 s where the machine or the network is gone, within AnswerTimeout else
//     (TestASilentPostgresIsNoticed), to NATS within 45 s (TestASilentNATSIsNoticed).
//   - A failover to a replica that lacks the last commits loses nothing, with several sinks either
//     (TestAFailoverToAReplicaThatLacksCommitsLosesNothing).
//   - What the tables have already is not read again: a look at them tells which messages of a long stretch of the log
//     their rows are from (TestOnlyWhatTheTablesLackIsReadAgain, TestWhatIsGoneFromTheLogIsNotLookedFor).
//   - A database that went back in time catches up by itself, also under a running sink
//     (TestADatabaseRestoredFromABackupCatchesUp, TestADatabaseSetBackUnderARunningSinkCatchesUp).
//   - A stream that was deleted and created again, and messages of a second portal, are refused
//     (TestARecreatedStreamIsRefused, TestAStreamRecreatedUnderARunningSinkIsRefused,
//     TestMessagesOfAnotherPortalAreRefused).
//   - History that the log no longer has is made up for by the last values, and said
//     (TestHistoryLostBehindThePositionEndsInTheLastValues), also that this is not all where the log has limits
//     (TestALogWithLimitsThatForgotWarnsWithTheRemedy).
//   - A watermark or a run shows up only with or after the rows it speaks of
//     (TestAWatermarkIsVisibleWithTheRowsItPromises), however many sinks share the consumer and are killed and added
//     (TestNoWatermarkIsEarlyThoughSinksAreKilledAndAdded). With several busy ones it is withheld until all of them have
//     got that far: a second, or the consumer's 20 s before it delivers again what a killed one had
//     (TestPromisesKeepUpWithBusySinks). No sink waits for another one that waits for it
//     (TestAWatermarkThatIsReleasedWaitsForNoneThatIsWritten). It speaks of what the log still has: of a record that changed
//     more often than the log keeps, after a watermark and before the sink got to it, the state that comes is a later one, and
//     later.
//   - A change of definitions loses no value, whatever type becomes which and back
//     (TestEveryChangeOfTypeKeepsEveryRawValue, TestATypeChangeLosesNothing, TestATypeChangeToTextIsRefilledFromTheLog,
//     TestANewPropertyGetsAColumnAndItsEarlierValues, TestAnArchivedPropertyKeepsItsColumn,
//     TestWhatHubSpotRenamesOrMakesAnewLosesNothing, TestNamesThatCollideGetAColumnEach), also while sinks are killed
//     (TestARandomDriftEndsInTheModelsState) or add the same rows (TestARefillThatMeetsAnotherSinkIsWhole). What a killed sink
//     leaves of it, any other takes up within a minute (TestWhatAKilledSinkLeftIsTakenUp).
//   - Rows are read and written meanwhile. A table is locked for everybody for some milliseconds, however large it is, and
//     that is waited for two seconds at a time (TestLiveWritesGoOnWhileAColumnChangesItsType, TestALongReaderHoldsUpNoWrites).
//   - What the owner built on a column survives: its type stays, values that do not fit are in _extra, and properties.note
//     says why and what to do, as where a table has no columns left (TestWhatKeepsAColumnsTypeIsNamedAndItsGoingNoticed,
//     TestTheOwnersThingsSurviveDrift, TestWhatTheOwnerBuiltOnAColumnKeepsItsType, TestColumnsRunOutWithoutALoss); columns
//     that Postgres refuses for any other reason stop nothing (TestColumnsThatPostgresRefusesStopNothing).
//   - Whatever differs between the log and the tables is found by a comparison of both, nothing else is, though sinks work
//     meanwhile, and one repair leaves none (TestVerifyFindsAndRepairsEveryDifferenceOfTheTables), the times of ended records
//     (TestVerifyComparesTheTimesOfEndedRecords) and the table erased (TestVerifyComparesWhatWasErased) included. A table
//     that was dropped is made again (TestVerifyMakesATableAgainThatWasDropped); a column whose type was altered by hand is
//     named, with the statement that helps (TestVerifyNamesAColumnWhoseTypeWasAltered). What is not applied yet
//     (TestVerifyDoesNotExpectWhatNoSinkHasApplied), is a dead letter (TestVerifyTakesDeadLettersForExplained) or was erased
//     (TestVerifyLeavesWhatWasErasedErased) is no difference, and nothing is deleted that a log with limits may have
//     forgotten (TestVerifyDeletesNothingThatALimitedLogMayHaveForgotten).
//   - Tables as of a moment of the log are what the live ones were then, value by value
//     (TestTablesAsOfEveryMomentAreWhatTheyWere), except that what was erased since, or of a stream that is gone, is a tombstone
//     (TestTablesAsOfAMomentKeepErasedWhatAnEarlierStreamErased). They are refused, with the
//     records and the moment from which on it works, where the log no longer keeps what it takes, unless what is missing may be
//     left out (TestTablesAsOfAMomentThatIsNoLongerKeptAreRefused). So they are for moments before the log, or before the first
//     load of an object type ended (TestTablesAsOfAMomentBeforeTheFirstLoadEndedAreRefused). While Postgres is away their making
//     waits (TestTablesAsOfAMomentOutlastCutConnections), and begins again where a failover lost what was made
//     (TestTablesAsOfAMomentAreBegunAgainAfterAFailover). They never take the place of anything else
//     (TestTablesAsOfAMomentTakeNoSchemaOfOthers), are not mixed with those of another build
//     (TestOfTwoBuildsOfOneSchemaTheLaterOneIsThere), and are closed, and erased, like the live ones
//     (TestTablesAsOfAMomentAreClosedAndErasedLikeTheOthers).
//   - Tables whose consumer feeds others are refused before anything is created for them (TestTablesOfATakenConsumerAreNotCreated).
//   - Every table has row level security on and no policy, from the transaction that creates it
//     (TestNothingIsReadableForSupabasesPublicRoles).
//   - An object type is exposed to the roles that are named, with the rows and columns that are named, and to nobody else
//     (TestExposeShowsChosenObjectsToChosenRolesOnly, TestExposeInPublicTakesBackWhatSupabaseGrantsByDefault); policies of the
//     owner's own decide, if so wished (TestPoliciesOfTheOwnerDecideWhatIsExposed). What exposes it follows new columns and
//     types (TestExposedViewsFollowTheTable) and leaves no trace in the end (TestWhatIsNoLongerExposedLeavesNoTrace). Conditions
//     that were noted are read again before a policy is made of them (TestANotedPolicyIsReadAgainBeforeItIsMade). Realtime
//     shows no more than that (TestRealtimeSeesWhatTheRoleMaySee), reads it from the server's log, and goes on after a rebuild,
//     of which it hears nothing (TestRealtimeReadsChangesOfExposedTablesFromTheServersLog). What is in the way is said
//     (TestExposeSaysWhatIsInTheWay).
//   - A role that owns the schema and may create others suffices for all of it, and reaches nothing else
//     (TestTheDocumentedRoleSufficesAndReachesNothingElse). A reader sees all records, those of later object types too, and
//     changes nothing (TestAReaderReadsAllRecordsAndChangesNothing).
//   - Nothing depends on a session: every pooler will do (TestTheSinkWorksThroughEveryPooler, TestATransactionPoolerIsNoObstacle,
//     TestMigrationsWorkThroughATransactionPooler), may restart (TestAPoolerThatRestartsOnlyDelays), and is not asked for
//     what it refuses (TestSettingsThatPoolersRefuseAreLeftOut). One connection suffices (TestOneConnectionSuffices), and a
//     role's statement_timeout stops no long work (TestARolesStatementTimeoutStopsNoLongWork).
//   - A connection that is refused, or an address that is reached by IPv6 only, leads to an error that says what helps
//     (TestErrorsOfConnectingSayWhatHelps, TestAnAddressThatIsReachedByIPv6OnlyLeadsToThePooler).
//   - Run stops within ten seconds of its context's end, with what it had begun committed and acknowledged
//     (TestStoppingCommitsAndAcknowledgesWhatWasBegun).
//   - Memory is bounded by batch sizes, whatever the size of portal, log or message.
//
// # Rebuilding
//
// A rebuild is the same Applier on a shadow schema: the last message of every subject of the log, then all that came since.
// The shadow is compared with the log, value by value; a difference is a failure. One from the live tables is told: they may be
// why a rebuild was wanted. For the swap, one transaction stops the sinks by the lock that every writer holds shared, catches
// up with them, exchanges the rows that describe the tables, and only then locks these, lets them change places by ALTER
// TABLE ... SET SCHEMA, and gives the new ones the rights, policies, triggers, foreign keys, publications and views of the old
// ones. As the new tables have all that the old ones had, what a sink knows of its position stays true.
//
//	live     hubspot.contacts ──────────────── swap ─▶ hubspot_rebuild.contacts   kept for Rollback
//	shadow   hubspot_rebuild.contacts ─ fill ─ swap ─▶ hubspot.contacts
//
// Its promises:
//
//   - It ends in the tables that the log says, damaged ones too, and says what was wrong with them
//     (TestARebuildEndsInTheSameTables, TestARebuildRepairsDamagedTablesAndSaysWhatWasWrong). It knows no HubSpot.
//   - Readers see no error, no row less and nothing older than before; running sinks go on, and lose and double nothing
//     (TestReadersAndSinksGoOnDuringARebuild). Nobody waits for the swap longer than its try may take, 40 ms unless told
//     otherwise (TestASwapDoesNotHoldReadersUp); transactions older than the new tables are waited for, up to 30 s
//     (TestATransactionOlderThanTheNewTablesIsWaitedFor).
//   - Rights, policies, comments, indexes, constraints, triggers, defaults, columns of the owner's, views, foreign keys of others,
//     publications and settings of storage and statistics are as before (TestWhatIsOnTheTablesCarriesOver), and so are tablespaces
//     (TestARebuildKeepsTheTablespaces); whatever else Postgres knows to depend on the tables is named, and nothing is begun
//     without leave (TestARebuildSaysWhatDoesNotCarryOverBeforeItBegins), or at all where it could not end
//     (TestARebuildRefusesWhatIsBuiltOnAnAlteredColumn, TestARebuildThatAStaticTableWouldRefuseDoesNotBegin). The owner's
//     triggers do not fire for it.
//   - What the owner built on a column holds its type in the new table, too, whenever it comes or goes
//     (TestWhatHoldsAColumnsTypeHoldsItThroughARebuild).
//   - What a constraint, a unique index, a foreign key or a trigger of the owner's refused stays a dead letter, and the record's
//     version before stays in its place; so does what no sink has applied yet and the new tables refuse. What only the new tables
//     would refuse, or a rollback's, is not lost for it: nothing is swapped (TestWhatTheLiveTablesRefusedStaysRefusedThroughARebuild,
//     TestWhatNoSinkAppliedIsRefusedByARebuildAsByASink, TestWhatOnlyTheNewTableRefusesIsNotLost). The same goes for sets of
//     links (TestTheLinksBeforeARefusedSetStayThroughARebuild, TestLinksThatOnlyTheNewTableRefusesAreNotLost), and for what a
//     trigger refuses with whatever code, during the rebuild too (TestWhatATriggerRefusesStaysRefusedWithAnyCodeAndAtAnyTime), and
//     for what was refused since, through a rollback (TestWhatWasRefusedSinceARebuildStaysRefusedThroughARollback). Letters that are
//     redriven meanwhile are applied (TestLettersRedrivenDuringARebuildAreApplied).
//   - Foreign keys are looked at before the swap (TestTablesThatAForeignKeyWouldNotHoldForAreNotSwappedIn), and made valid again
//     after it, by the next rebuild or start of a sink if this one is killed (TestAForeignKeyIsCheckedThoughTheRebuildWasKilled):
//     a sink does it on a connection of its own, for a minute a key at most.
//   - Columns of the owner's may come, go and change while the tables are made, or before old ones come back
//     (TestTheOwnersColumnsComeAndGoDuringARebuild), in their new shape if they are made anew with another expression or
//     collation (TestTheOwnersColumnsMadeAnewKeepTheirNewShape), and their values too, those of a unique column that rows exchange among
//     them (TestValuesOfAUniqueColumnThatWereExchangedCarryOver). The last look at these values, some microseconds a row, keeps
//     writers of that table waiting, no readers.
//   - Columns of the owner's on the static tables stay, with their values in the rows that stay
//     (TestTheOwnersColumnsOfStaticTablesSurviveARebuild, TestARebuildKnowsTheColumnsOfLinks).
//   - No last value of a long log is left out (TestAReaderOfLastValuesMissesNone), and a shadow that is not as the log says is
//     never swapped in (TestAShadowThatIsNotAsTheLogIsNotSwappedIn).
//   - Interrupted at any point, the live tables are whole, old or new, and the next rebuild comes through
//     (TestARebuildInterruptedAfterAnyStepLeavesTheTablesWhole, TestTwoRebuildsDoNotWorkAtOnce). One that lost the lock that
//     keeps others away swaps nothing in (TestARebuildThatIsNoLongerAloneSwapsNothing). A column
//     that is changing its type is no obstacle (TestARebuildDuringAChangeOfAType).
//   - The dead letters afterwards are those that stand: of what the new tables lack, and of what the source could not read, has
//     not read since and nobody dropped (TestDeadLettersAfterARebuildAreThoseThatStand); none of a stream that is gone, they go
//     and come back with its tables (TestDeadLettersOfARecreatedStreamGoWithItsTables). A letter of the sink that was dropped
//     although its message still cannot be applied is there again: the tables lack it.
//   - What is still to be erased is erased before a swap, and what waits for a position of another stream does not come along
//     (TestARollbackErasesFirst, TestNothingOfTheOldStreamWaitsForTheNewOne). Only the owner of the live schema may rebuild
//     (TestARebuildIsTheOwnersOnly).
//   - Some object types are rebuilt alone: their tables of records, with definitions and pipelines, not links, cursors and runs
//     (TestOneObjectTypeIsRebuiltAlone).
//   - Tables of a stream that is gone are filled from the present one (TestTablesOfARecreatedStreamAreRebuilt). What was
//     erased stays erased through any number of rebuilds and repairs: the table erased is the last word, though the log has
//     values of it, which Verify tells (TestWhatWasErasedBeforeTheStreamWasRecreatedStaysErased). A deletion for privacy during a rebuild leaves no value
//     (TestADeletionForPrivacyDuringARebuildLeavesNoValue), and does not stop it (TestADeletionForPrivacyWhileTheShadowIsMade,
//     TestADeletionForPrivacyBetweenTheShadowsTablesAndTheirRows).
//   - A log that was emptied, forgets by age or size, or was begun anew and not read whole yet does not empty the tables without
//     leave, and a plan says so before (TestALogThatForgotDoesNotEmptyTheTables, TestALogBegunAnewAndReadWholeIsRebuiltWithoutForce).
//     A dead letter of the source, or about links, makes up for no row.
//   - Its role owns the live schema and the copy's, and nothing else (TestARebuildNeedsNoMoreThanItsTwoSchemas); a transaction
//     pooler will do (TestARebuildWorksThroughATransactionPooler).
//   - A copy is not dropped with what others built on it (TestACopyIsNotDroppedWithWhatDependsOnIt).
//   - A schema that holds anything and is no copy of these tables is not touched (TestARebuildTakesNoSchemaOfSomebodyElse), one that
//     was made anew under a copy's name neither, by whatever drops, fills or erases in copies
//     (TestASchemaMadeAnewUnderACopysNameIsLeftAlone, TestASchemaThatIsNotKnownAsACopyIsLeftAlone),
//     nor a table of the owner's that has a new type's name (TestARebuildLeavesAnOwnersTableOfATypesNameAlone).
//
// # What a comparison leaves out
//
// Verify compares the tables of records, links, link_sets and erased with the log: each row's columns, _extra, flags, times
// and _seq, but not when it was written (_synced_at, erased_at). It does not compare the tables that describe or report:
// objects, properties, pipelines, cursors, sync_logs, dead_letters, positions. A column that somebody dropped or renamed is
// no difference as long as its values are in _extra; further columns and tables are their owner's.
//
// # A role with the least rights
//
//	create role hubtail login password '...' connection limit 12;
//	create schema hubspot authorization hubtail;
//	grant create on database postgres to hubtail; -- for rebuilds, tables as of a time, and exposed views
//
// It owns its schemas and needs nothing else, superuser and BYPASSRLS least of all: an owner passes row level security. Instead
// of the last right, schemas made for it do: `create schema hubspot_rebuild authorization hubtail`. `hubtail migrate --owner
// hubtail --print` prints all of it; docs/supabase.md is the guide.
package sink
