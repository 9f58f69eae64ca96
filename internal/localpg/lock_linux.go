package localpg

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// orphanWait is how long a server whose hubtail was killed gets to finish
	// its shutdown before the folder is called occupied.
	orphanWait = 30 * time.Second
	orphanStep = 50 * time.Millisecond
)

// clearStaleLock removes postmaster.pid when no process uses the data. Postgres
// does so itself when the process id in it is free, but not when the id belongs
// to somebody else by now, or to a zombie nobody reaps (containers without init).
// A backend that outlived its postmaster would corrupt the data of a second one,
// so as long as anything works in the folder the lock stays.
func clearStaleLock(ctx context.Context, data string) error {
	path := filepath.Join(data, "postmaster.pid")
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) && !inUse(data) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, orphanWait)
	defer cancel()
	tick := time.NewTicker(orphanStep)
	defer tick.Stop()
	for inUse(data) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("a PostgreSQL server (%s) still runs in it: stop it with kill -INT", strings.Join(users(data), ", "))
		case <-tick.C:
		}
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove stale lock: %w", err)
	}
	return nil
}

// inUse reports whether a living process has data as its working folder, as
// every process of a PostgreSQL server has.
func inUse(data string) bool { return len(users(data)) > 0 }

func users(data string) []string {
	real, err := filepath.EvalSymlinks(data)
	if err != nil {
		return nil
	}
	var pids []string
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		// Unreadable: another user's, who cannot have entered our 0700 folder.
		if dir, err := os.Readlink(link); err != nil || dir != real {
			continue
		}
		pid := filepath.Base(filepath.Dir(link))
		if _, err := strconv.Atoi(pid); err == nil {
			pids = append(pids, "process "+pid)
		}
	}
	return pids
}
