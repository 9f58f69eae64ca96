// Package alerts tells people who have no monitoring of their own that something is wrong, and that it is over.
//
//	conditions ─▶ Watcher ─▶ incidents ─▶ receivers
//	hold now      every 15 s  KV bucket    Telegram, e-mail, Slack, webhooks, ...
//
// A Condition is what is wrong now, under a key: all object types that are stale are one condition. An incident begins when a
// condition has held for as long as it must, and ends when it has not held for a while; a message is sent for either. Its
// state, with who was told what, is in a KV bucket of the log's server, one key per condition: so a process that is started
// again goes on where the one before was, and of several that see the same only one tells. Who opened an incident keeps its
// key fresh; if it stops doing so, another takes over. Where the bucket cannot be used, the state is in memory only.
//
// Addresses hold secrets. A receiver is named by its service, and errors are shown without addresses and their parts.
//
// # Promises
//
//   - one message per incident, however long it lasts and however often it is looked at, and one when it is over, with how long
//     it lasted (TestOneMessagePerIncidentAndOneWhenItIsOver); what comes and goes within the time it must hold is not told, and
//     what goes and comes again at once is one incident (TestShortAndFlickeringConditionsAreNoStorm)
//   - a process that is started again repeats nothing and ends what its predecessor began (TestARestartRepeatsNothing); several
//     that see the same tell once (TestSeveralThatSeeTheSameTellOnce)
//   - what an open incident comes to be about is told, too, once each and at most once an hour (TestWhatJoinsAnOpenIncidentIsTold)
//   - a process that ends by itself says why, within seconds; one that is started again and ends again does not repeat it, and
//     it is over once one goes on (TestAProcessThatEndsSaysWhyOnce)
//   - a receiver that fails is tried again, later each time, and the others are told (TestAReceiverThatFailsIsTriedAgain); one
//     that never answers holds up nothing but itself (TestAReceiverThatNeverAnswersHoldsUpNothing)
//   - without the bucket everything works but for restarts (TestWithoutTheBucketTheStateIsInMemory)
//   - e-mail, Slack, Telegram and webhooks get what they expect (TestEmailArrives, TestWebhookGetsJSON,
//     TestTelegramAndSlackGetWhatTheyExpect), and a failure to deliver is never taken for a success
//     (TestATelegramThatDoesNotAnswerIsAFailure)
//   - no part of an address that could be a secret is in a name or an error (TestAddressesAreNeverShown)
package alerts
