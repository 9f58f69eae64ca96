// Package filelock keeps two processes out of one directory.
//
// Promises:
//   - one holder at a time, in one process or in several
//     (TestOneHolderAtATime);
//   - a holder that dies, even by kill -9, leaves no lock behind: the kernel
//     releases it with the file descriptor, so there is no stale lock to clean
//     up (TestKilledHolderLeavesNoLock);
//   - a lock that was released is free at once, also while other processes are
//     being started, which have copies of its file for a moment
//     (TestReleasedLockIsFreeWhileProcessesStart);
//   - a refusal names the process that holds the lock, when that is known
//     (TestOneHolderAtATime).
package filelock
