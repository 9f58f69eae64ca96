// Package localnats runs a NATS server with JetStream inside this process, so
// that hubtail works with nothing installed.
//
// Promises:
//   - what it acknowledges is on disk: JetStream in files, fsync before every
//     acknowledgement (an atomic batch is one group commit)
//     (TestWhatIsAcknowledgedIsThereAfterRestart,
//     TestEveryAcknowledgementIsSynced);
//   - no listener unless asked for; then on loopback, and on any other address
//     only with credentials (TestNoListenerUnlessAsked,
//     TestListenerIsOnLoopback, TestBeyondLoopbackOnlyWithCredentials,
//     TestCredentialsAreAskedOfEveryConnection);
//   - one server per store directory: a second one is refused with an error
//     that names the directory and the process that has it
//     (TestSecondServerOnOneDirectoryIsRefused);
//   - the store directory is readable for its owner only
//     (TestStoreDirectoryIsForItsOwnerOnly);
//   - Start returns a server that is ready, or the reason why it is not; Close
//     waits until every goroutine and file of it is gone
//     (TestStartReturnsTheReasonItFailed, TestCloseTwice);
//   - a message may have 8 MB, so that no HubSpot record is too large
//     (TestMessageMayHave8MB).
package localnats
