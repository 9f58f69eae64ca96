package filelock

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// ErrLocked is returned by TryLock while another holder has the lock.
var ErrLocked = errors.New("locked by another process")

// waitStep is how often Lock looks again: flock(2) cannot be interrupted, so
// waiting with a context means asking repeatedly.
const waitStep = 50 * time.Millisecond

// Lock is a held lock. Release it with Unlock.
type Lock struct {
	file *os.File
}

// TryLock takes the lock on path, creating the file if needed, or returns an
// error that wraps ErrLocked at once.
func TryLock(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := lockFile(f); err != nil {
		holder := readHolder(f)
		_ = f.Close()
		if errors.Is(err, ErrLocked) {
			return nil, fmt.Errorf("%s: %w%s", path, ErrLocked, holder)
		}
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}

	// The process id is only there for the message above; the lock itself is
	// the kernel's, so a failed write harms nobody.
	if err := f.Truncate(0); err == nil {
		_, _ = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	return &Lock{file: f}, nil
}

// Acquire waits for the lock on path until ctx ends.
func Acquire(ctx context.Context, path string) (*Lock, error) {
	tick := time.NewTicker(waitStep)
	defer tick.Stop()
	for {
		l, err := TryLock(path)
		if err == nil || !errors.Is(err, ErrLocked) {
			return l, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-tick.C:
		}
	}
}

// Unlock releases the lock. The file stays: removing it would let a waiter lock
// a file that a third process no longer sees.
func (l *Lock) Unlock() error {
	if l == nil || l.file == nil {
		return nil
	}
	f := l.file
	l.file = nil
	// Closing alone does not do: until it executes its program, a process that is being started has a copy of the file.
	return errors.Join(unlockFile(f), f.Close())
}

func readHolder(f *os.File) string {
	buf := make([]byte, 32)
	n, _ := f.ReadAt(buf, 0)
	pid := strings.TrimSpace(string(buf[:n]))
	if _, err := strconv.Atoi(pid); err != nil {
		return ""
	}
	return " (process " + pid + ")"
}
