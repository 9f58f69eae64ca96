//go:build unix

package localpg

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
)

// nobodyID is the user nobody where /etc/passwd does not say.
const nobodyID = 65534

// account is the user postgres runs as when we are root.
type account struct {
	name     string
	uid, gid int
}

// unprivileged returns whom to run as: nil (ourselves) unless we are root; then
// the owner of existing data, else postgres, else nobody.
func unprivileged(data string) *account {
	if os.Geteuid() != 0 {
		return nil
	}
	if info, err := os.Stat(data); err == nil {
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && stat.Uid != 0 {
			return &account{name: fmt.Sprintf("with id %d", stat.Uid), uid: int(stat.Uid), gid: int(stat.Gid)}
		}
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uidErr := strconv.Atoi(u.Uid)
		gid, gidErr := strconv.Atoi(u.Gid)
		if uidErr == nil && gidErr == nil && uid != 0 {
			return &account{name: name, uid: uid, gid: gid}
		}
	}
	return &account{name: "nobody", uid: nobodyID, gid: nobodyID}
}

// cannotEnter returns an error if the account may not pass through dir or one of
// its parents: postgres would fail there with a bare "permission denied".
func (a *account) cannotEnter(dir string) error {
	if a == nil {
		return nil
	}
	for {
		info, err := os.Stat(dir)
		if err != nil {
			return err
		}
		if !a.mayEnter(info) {
			return fmt.Errorf("PostgreSQL refuses to run as root, and the user %s it runs as instead cannot enter %s", a.name, dir)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil
		}
		dir = parent
	}
}

func (a *account) mayEnter(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	mode := info.Mode().Perm()
	switch {
	case int(stat.Uid) == a.uid:
		return mode&0o100 != 0
	case int(stat.Gid) == a.gid:
		return mode&0o010 != 0
	}
	return mode&0o001 != 0
}

// credential is what the kernel needs to start a process as the account.
func (a *account) credential() *syscall.Credential {
	if a == nil {
		return nil
	}
	return &syscall.Credential{Uid: uint32(a.uid), Gid: uint32(a.gid)}
}

// ownedByUs returns an error if dir belongs to somebody else.
func ownedByUs(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to the user with id %d: run as that user or use another folder", dir, stat.Uid)
	}
	return nil
}
