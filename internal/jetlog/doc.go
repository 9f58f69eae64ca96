// Package jetlog connects to NATS and looks after the stream that holds the
// log. Source, sink and commands share it, so that all of them connect, check
// and complain in the same way.
//
// Promises:
//   - a connection heals itself for ever; what NATS refuses later (permissions,
//     slow consumers) reaches the log, never silence
//     (TestConnectionHealsItself, TestRefusedOperationReachesTheLog), also one
//     whose user is refused for a while (TestAUserWhoIsRefusedForAWhileComesBack);
//   - no error carries a password or token of the URL, and no server is shown
//     with one (TestNoErrorCarriesASecret,
//     TestServersAreShownWithoutTheirSecrets);
//   - a server that cannot store a page and its cursor in one atomic batch
//     (before 2.12) is refused, with the version to install (TestCheckServer);
//   - Ensure creates the stream, raises what may be raised on an existing one,
//     and never lowers or deletes anything (TestEnsureCreatesTheLog,
//     TestEnsureRaisesWhatMayBeRaised, TestEnsureNeverLowersHistory);
//   - Ensure refuses a stream that could lose the log (memory storage, expiry
//     by age or size, no acknowledgement, asynchronous writes, ...) and names
//     every reason and its remedy at once (TestEnsureRefusesADangerousStream,
//     TestEnsureNamesEveryReasonAtOnce);
//   - Wait lets a consumer start before the source has made the stream
//     (TestWaitReturnsOnceTheStreamExists);
//   - Identity tells a recreated stream from the one a consumer knew
//     (TestIdentityTellsARecreatedStream).
package jetlog
