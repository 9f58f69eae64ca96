package filelock_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/internal/filelock"
)

// holdEnv makes the test binary a process that takes the lock and waits to be killed.
const holdEnv = "FILELOCK_TEST_HOLD"

func TestMain(m *testing.M) {
	if path := os.Getenv(holdEnv); path != "" {
		if _, err := filelock.TryLock(path); err != nil {
			os.Exit(1)
		}
		_, _ = os.Stdout.WriteString("held\n")
		_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent goes away
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

func TestOneHolderAtATime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	first, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = filelock.TryLock(path)
	if !errors.Is(err, filelock.ErrLocked) {
		t.Fatalf("second holder: got %v, want ErrLocked", err)
	}
	if want := strconv.Itoa(os.Getpid()); !strings.Contains(err.Error(), want) {
		t.Errorf("error %q does not name process %s", err, want)
	}

	if err := first.Unlock(); err != nil {
		t.Fatal(err)
	}
	second, err := filelock.TryLock(path)
	if err != nil {
		t.Fatalf("after unlock: %v", err)
	}
	_ = second.Unlock()
}

func TestKilledHolderLeavesNoLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), holdEnv+"="+path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}
	if _, err := filelock.TryLock(path); !errors.Is(err, filelock.ErrLocked) {
		t.Fatalf("while the other process lives: got %v, want ErrLocked", err)
	}

	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	l, err := filelock.TryLock(path)
	if err != nil {
		t.Fatalf("after kill -9: %v", err)
	}
	_ = l.Unlock()
}

func TestAcquireEndsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	held, err := filelock.TryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Unlock()

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := filelock.Acquire(ctx, path); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("got %v, want the context's error", err)
	}
}

func TestReleasedLockIsFreeWhileProcessesStart(t *testing.T) {
	path, stop := filepath.Join(t.TempDir(), "lock"), make(chan struct{})
	var starting sync.WaitGroup
	starting.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				_ = exec.Command(os.Args[0], "-test.run", "^$").Run()
			}
		}
	})
	defer starting.Wait()
	defer close(stop)
	for began := time.Now(); time.Since(began) < time.Second; {
		l, err := filelock.TryLock(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
}
