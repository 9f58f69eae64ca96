package localpg

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/hubtail/hubtail/internal/filelock"
)

const (
	lockName     = "hubtail.lock"
	passwordName = "password"
	portName     = "port"
	logName      = "server.log"

	// sweepAge keeps a folder safe from sweeping between its creation and its lock.
	sweepAge = time.Minute

	throwawayPrefix = "hubtail-pg-"
)

// FolderError is a cluster folder that cannot be used, whatever the binaries.
type FolderError struct {
	Dir string
	Err error
}

func (e *FolderError) Error() string { return fmt.Sprintf("postgres folder %s: %v", e.Dir, e.Err) }

// Unwrap returns the reason.
func (e *FolderError) Unwrap() error { return e.Err }

// home is the folder of a private cluster: its data, password, port and log.
type home struct {
	dir       string
	throwaway bool
	account   *account // whom postgres runs as; nil: ourselves
	lock      *filelock.Lock
}

// openHome creates or reopens the folder and locks it.
func openHome(opts Options) (*home, error) {
	h := &home{dir: opts.Dir, throwaway: opts.Dir == ""}
	if err := h.open(); err != nil {
		return nil, &FolderError{Dir: h.dir, Err: errors.Join(err, h.lock.Unlock())}
	}
	return h, nil
}

func (h *home) open() (err error) {
	if h.throwaway {
		err = h.makeThrowaway()
	} else {
		err = h.makeKept()
	}
	if err != nil {
		return err
	}
	h.lock, err = filelock.TryLock(h.path(lockName))
	if errors.Is(err, filelock.ErrLocked) {
		return fmt.Errorf("another hubtail uses it: stop that one or use another folder: %w", err)
	}
	if err != nil {
		return err
	}
	return os.Chmod(h.dir, h.mode())
}

// mode keeps others out. As root the folder stays root's, so that the account
// postgres runs as can plant no links for us to follow; it may only pass through
// to the data, which are its own.
func (h *home) mode() os.FileMode {
	if h.account != nil {
		return 0o711
	}
	return 0o700
}

func (h *home) makeThrowaway() (err error) {
	h.account = unprivileged("")
	parent := os.TempDir()
	if h.account.cannotEnter(parent) != nil {
		parent = "/tmp"
	}
	sweep(parent)
	h.dir, err = os.MkdirTemp(parent, throwawayPrefix)
	return err
}

func (h *home) makeKept() (err error) {
	if h.dir, err = filepath.Abs(h.dir); err != nil {
		return err
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return err
	}
	h.account = unprivileged(h.data())
	if err := h.account.cannotEnter(filepath.Dir(h.dir)); err != nil {
		return fmt.Errorf("%w; use a folder such as /var/lib/hubtail, or do not run as root", err)
	}
	return ownedByUs(h.dir)
}

// give hands a file to the account postgres runs as.
func (h *home) give(path string) error {
	if h.account == nil {
		return nil
	}
	return os.Chown(path, h.account.uid, h.account.gid)
}

// makeEmpty makes an empty folder that belongs to the account.
func (h *home) makeEmpty(dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	return h.give(dir)
}

func (h *home) path(name string) string { return filepath.Join(h.dir, name) }

func (h *home) data() string { return h.path("data") }

// madeBy returns the major version of the data, 0 if there is none yet.
func (h *home) madeBy() (int, error) {
	text, err := os.ReadFile(filepath.Join(h.data(), "PG_VERSION"))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// wantedMajor is the version to look for: that of the data, once there is any.
func (h *home) wantedMajor(asked int) (int, error) {
	made, err := h.madeBy()
	if err != nil {
		return 0, &FolderError{h.dir, fmt.Errorf("read its version: %w", err)}
	}
	if made == 0 {
		return asked, nil
	}
	if asked != 0 && asked != made {
		return 0, &FolderError{h.dir, fmt.Errorf("its data are of PostgreSQL %d, asked for is %d: use another folder", made, asked)}
	}
	return made, nil
}

// password returns the cluster's password, made at the first start.
func (h *home) password() (string, error) {
	text, err := os.ReadFile(h.path(passwordName))
	if err == nil {
		return strings.TrimSpace(string(text)), nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	if made, _ := h.madeBy(); made != 0 {
		return "", fmt.Errorf("%s is missing, and the data cannot be opened without it", h.path(passwordName))
	}
	password := rand.Text()
	if err := os.WriteFile(h.path(passwordName), []byte(password+"\n"), 0o600); err != nil {
		return "", err
	}
	return password, h.give(h.path(passwordName)) // initdb reads it
}

// lastPort is the port of the last start, so that connection strings on
// someone's screen stay true; 0 if there was none.
func (h *home) lastPort() int {
	text, _ := os.ReadFile(h.path(portName))
	port, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return port
}

func (h *home) keepPort(port int) error {
	return os.WriteFile(h.path(portName), []byte(strconv.Itoa(port)+"\n"), 0o600)
}

// close gives the folder back and, for a throw-away, removes it.
func (h *home) close() error {
	var err error
	if h.throwaway {
		err = os.RemoveAll(h.dir)
	}
	return errors.Join(err, h.lock.Unlock())
}

// sweep removes throw-away folders of processes that were killed before they
// could. A living owner holds the lock.
func sweep(parent string) {
	dirs, _ := filepath.Glob(filepath.Join(parent, throwawayPrefix+"*"))
	for _, dir := range dirs {
		// Another user's folder could hold links to our files.
		info, err := os.Lstat(dir)
		if err != nil || !info.IsDir() || ownedByUs(dir) != nil || time.Since(info.ModTime()) < sweepAge {
			continue
		}
		// No lock file means it is not one of ours, or just being made.
		if _, err := os.Stat(filepath.Join(dir, lockName)); err != nil {
			continue
		}
		lock, err := filelock.TryLock(filepath.Join(dir, lockName))
		if err != nil {
			continue
		}
		if !inUse(filepath.Join(dir, "data")) {
			_ = os.RemoveAll(dir)
		}
		_ = lock.Unlock()
	}
}
