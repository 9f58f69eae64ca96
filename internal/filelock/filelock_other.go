//go:build !unix

package filelock

import "os"

// lockFile takes no lock where there is no flock: hubtail's embedded parts are
// supported on Linux and macOS.
func lockFile(*os.File) error { return nil }

func unlockFile(*os.File) error { return nil }
