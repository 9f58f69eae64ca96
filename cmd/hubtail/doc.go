// Command hubtail is `tail -f` for HubSpot: a source that turns a portal into an ordered, replayable log on NATS
// JetStream, and a sink that keeps typed Postgres tables equal to it.
//
// It is the only package that knows all others: it reads settings, builds the parts, and stops them.
//
//	main.go         signals, exit codes; app.go the command table and help
//	flags.go        options, one to one with flags; environment.go the file of settings and mistakes in variables
//	help.go         how help looks
//	arguments.go    what may be wrong with a command line; didyoumean.go what was likely meant
//	parts.go        NATS, HubSpot client, source, database, sink: built from options, closed in reverse order
//	COMMAND.go      one file per command: its flags, help and body (up, source, sink, backfill, sync, verify, rebuild, erase, migrate, expose,
//	                status, webhooks, nats, simulator, demo); oneshot.go is what backfill and sync share, applied.go waits
//	                until everything is in the tables
//	statustables.go the database's side of status
//	init.go         asks for settings; settings.go writes them
//	doctor*.go      the table of checks, what they share (doctorparts.go), and a file per part that they look at
//	past.go         what history, diff, tail, explain and rebuild --as-of have in common: the log of one portal, names, moments
//	demo*.go        the demo: its parts, its Postgres; viewer.go, progress.go and output.go are its screen
//	memory.go       soft limits of the heap
//	admin.go        health checks and metrics.go, at --admin-addr; healthcheck.go asks for them
//	page.go         the status page there, of what monitor.go knows; internal/statuspage shows it
//	alert.go        who is told of what alertconditions.go finds wrong; internal/alerts tells
//
// # Promises
//
//   - a process killed at any moment loses and doubles nothing (TestKillNineLosesAndDoublesNothing); one that is told to
//     stop calls that a success (TestServicesStopInTheMiddleOfALoad)
//   - whatever breaks around source and sinks, in any order, nothing is lost, wrong or stuck afterwards
//     (TestRandomFaultsLoseNothing; `make soak` breaks 500 things in one run), in a NATS cluster that loses its leaders either
//     (TestLeadersOfAClusterGoAndNothingIsLost) or falls apart, of which the smaller part takes nothing
//     (TestAPartitionOfTheClusterLosesNothing); status says meanwhile which sink waits for what, or that none reads
//     (TestStatusSaysWhyASinkWaitsAndThatNobodyReads)
//   - no secret is in any output, error or log (TestSecretsAreNeverShown, TestSecretsOfOddAddressesAreNeverShown), and no
//     text of others in an error or in JSON moves the cursor of a terminal (TestNothingPrintedMovesTheCursor)
//   - wrong usage is exit code 2 and one line that says what to do, which command or flag was likely meant, and how to write
//     flags that come after an argument, without their values (TestWrongUsageIsExitCodeTwoAndOneLine); help works
//     whatever the settings are (TestMalformedDotEnvIsRefusedWithoutItsContent)
//   - every flag has its variable and its explanation (TestHelpListsEveryFlagWithItsEnvironmentAndAnExample), and help fits a
//     terminal (TestHelpFitsTheTerminalAndLosesNoWord)
//   - long-running commands wait for NATS and Postgres to start (TestServicesWaitForNATSAndPostgres), as long as it takes
//     (TestServicesWaitAsLongAsItTakes), but not for what says no (TestServicesDoNotWaitForWhatSaysNo, TestWhatSaysNoIsNotWaitedFor);
//     a connection that breaks then is made again (TestAConnectionThatBreaksDuringTheStartIsMadeAgain), and to be stopped
//     then is no failure (TestAStopWhileNATSIsTriedIsNoFailure)
//   - a service says whether it lives, can work and how far it is (TestHealthChecksAndMetricsOfServices,
//     TestReadinessSaysWhatIsMissing); every metric is in docs/metrics.md (TestMetricsAreDocumentedAndWellFormed), and the alert
//     rules and the dashboard in deploy/ use no other (TestAlertRulesAndDashboardFitTheMetrics); several
//     services need no addresses of their own (TestAnAddressInUseIsAnErrorOnlyIfItWasAskedFor)
//   - the status page of a source without a database and of a sink without HubSpot says what it does not know, and its
//     /api/status is the JSON of status (TestStatusPagesSayWhatTheyKnowAndWhatNot); the admin listener answers to its own
//     names only (TestAdminAnswersOnlyToItsOwnNames)
//   - what is wrong is told once and by one: source and sink each tell of their own (TestSourceAndSinkTellEachOfTheirOwn), a
//     reason but not what follows from it (TestWhatIsToldOf), and why it ends, if it does by itself
//     (TestAServiceThatEndsByItselfSaysWhyOnce); alert test names the addresses that fail, and no address is
//     shown (TestAlertTestSaysWhichAddressFailed); internal/alerts keeps what was told, with the rights that the users of
//     deploy/nats have (TestAlertsNeedNoMoreRightsThanUsersHave)
//   - the services of docker-compose.yml are closed and named rightly (TestComposeServicesAreClosedAndKnown), and both profiles run:
//     each service with its own command, environment and health check, until the records are in Postgres (TestTheComposeProfilesRun)
//   - the files of deploy/ name commands and variables that exist (TestDeploymentFilesNameWhatExists), leave time to stop and no
//     rights to spare (TestKubernetesManifestsFitTheProgram, TestSystemdUnitsFitTheProgram); the SQL of docs/migration.md works as
//     it stands there (TestTheMigrationGuideWorks)
//   - sync and backfill take nothing from a running source (TestSyncAndBackfillBesideARunningSourceSayWhoLeads)
//   - backfill --dry-run says what a full read would cost, within a fifth, and writes nothing: no stream, no schema, no
//     directory (TestBackfillDryRunSaysWhatItWouldCostAndWritesNothing); backfill shows how far it is
//     (TestBackfillShowsBarsOnATerminalAndNothingOfWhatIsSoonOverElsewhere)
//   - status names what needs attention (TestStatusSaysWhatNeedsAttention) and asks HubSpot nothing
//     (TestStatusOfAHealthyPortal); what it says was verified last may have been so by the source or by hand
//     (TestTheNewestComparisonWithHubSpotCounts, TestVerifyOfADifferenceSaysWhichAndHowToRepairIt)
//   - init tries every answer (TestInitTriesEveryAnswer), shows no secret, asks on a terminal only (TestInitAsksAPersonAtATerminal,
//     TestInitWritesWhatFlagsAndVariablesSay), keeps lines that are not its own (TestInitKeepsOtherLines) and leaves nothing
//     behind when it is left (TestInitCanBeLeftWithoutATrace)
//   - shells complete every command and flag and run nothing for it (TestBashCompletesCommandsFlagsAndObjects,
//     TestTheTabKeyCompletes, TestZshAndFishReadTheirCompletion)
//   - doctor changes nothing and asks HubSpot as often as it says (TestDoctorAsksHubSpotAsOftenAsItSays); it tells what is
//     wrong, why it matters and what to do: token, scopes, quota, clock (TestDoctorFindsWhatIsWrongWithHubSpot), the way to a
//     server (TestDoctorTellsWhatIsWrongWithTLS, TestDoctorTellsWhyNATSCannotBeReached), what a NATS user may do, without
//     anybody hearing of it (TestDoctorTriesWhatAUserMayDo), drift of the stream (TestDoctorFindsDriftOfTheStream), who reads
//     (TestDoctorSaysWhoReads), the database, its rights and what is open (TestDoctorFindsWhatIsWrongWithTheDatabase,
//     TestDoctorOfADatabaseWithTheLeastRole), poolers (TestDoctorTellsATransactionPooler), receivers
//     (TestDoctorDeliversToARunningReceiver, TestDoctorTellsReceiversFromOthers), files and disk
//     (TestDoctorLooksAtSecretsAndDisk); no part that hangs stops another (TestAHangingPartStopsNoOtherCheck), and scripts
//     have an exit code and JSON (TestDoctorIsOneCommandWithAnExitCode)
//   - commands, flags and errors that documents show are those of the program (TestCommandsInDocumentsExist,
//     TestErrorsInDocumentsAreThoseOfTheProgram)
//   - a rebuild that is killed at any moment leaves whole tables, under a running source and sink, and the next one comes
//     through; so does the way back (TestARebuildKilledAnywhereLeavesTheTablesWhole, TestRebuildRefusesWrongUsage)
//   - a webhook becomes a row (TestAWebhookBecomesARow), also when no source ran as it came (TestReceiversNeedNoRunningSource)
//   - verify finds every one of a thousand planted differences of fourteen kinds under live changes, nothing else, and one
//     --repair leaves none (TestVerifyFindsAThousandDifferencesOfFourteenKinds); it does what it can without a database or a
//     token (TestVerifyWorksWithoutADatabaseAndWithoutAToken)
//   - a NATS or Postgres that does not answer is said with what to do about it (TestNothingThereIsAFailureThatSaysWhat)
//   - an object type that is not there is wrong usage, of every command; singular, type id and other capitals mean one
//     (TestObjectTypesThatNobodyHasAreWrongUsageEverywhere)
//   - erase leaves no value of a record in log and tables, and nothing brings it back (TestEraseLeavesNoValueInLogAndTables);
//     it disturbs no running source and sink (TestEraseBesideRunningSourceAndSink)
//   - erase, sync and backfill end once the tables have everything, whichever sink applies it
//     (TestOneShotCommandsEndBesideARunningSink, TestErasesAtTheSameTimeEnd), and say so if nobody does
//     (TestTablesThatStandStillAreNotWaitedForForever)
//   - a custom object type that appears gets its table at run time (TestACustomObjectThatAppearsGetsItsTableAtRunTime)
//   - dead letters can be listed, shown, redriven and dropped, nothing of it unless it is said which
//     (TestDeadLettersAreListedShownRedrivenAndDropped); for what the source could not read it is asked
//     (TestTheSourceIsAskedForWhatItCouldNotRead)
//   - deletions, restores, merges and erasures end in equal tables without any webhook
//     (TestARandomMixOfEndsWithoutWebhooksEqualsTheTruth)
//   - history and diff tell what happened, by the log alone, and do not take what a first load brought for created
//     (TestHistoryAndDiffTellWhatHappened), and what they can no longer
//     tell (TestHistoryAndDiffSayWhatIsNoLongerKept); nothing in a value reaches the terminal as a control character
//   - tail shows what came and what comes, as lines or JSON (TestTailShowsWhatComesAndWhatCame), and ends quietly when
//     nobody reads it any longer (TestTailEndsQuietlyWhenNobodyReadsItAnyLonger)
//   - users of NATS need no more rights than deploy/nats/permissions.conf gives them (TestUsersWithNoMoreRightsThanTheyNeed,
//     TestCredentialsOfAReaderAreWhatTheDocumentationSays)
//   - schema prints the contract that the tests of package schemas hold (TestSchemaPrintsTheWholeContract)
//   - rebuild --as-of builds the tables as they were at a moment, and refuses one before the log or the end of the first load
//     with the first that works, and to replace those of another moment unasked (TestRebuildAsOfBuildsTheTablesOfThen)
//   - explain says why a record is, or is not, in the tables, with what it can look at
//     (TestExplainSaysWhyARecordIsOrIsNotThere)
//   - every block of docs/supabase.md works as it stands there (TestTheSupabaseGuideWorks), with a role that owns its schema and
//     no more, every command through a transaction pooler too (TestEveryCommandWorksThroughATransactionPooler); expose says
//     what it would do, does it and undoes it (TestExposePrintsListsAndRemoves), and a rebuild, its way back and tables as of a
//     time change nothing about who sees what (TestARebuildKeepsWhatIsExposed)
//   - the demo finds a wrong value (TestDemoFindsASabotagedTable) and leaves nothing behind, however it ends
//     (TestInterruptedDemoFailsAndLeavesNothing, TestDemoWhoseOutputIsClosedLeavesNothing)
package main
