//go:build unix && !linux

package localpg

import "syscall"

// processAttributes keeps a Ctrl-C in the terminal from reaching the server
// before us. Only Linux can tie a process to its parent's life.
func processAttributes(a *account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: a.credential()}
}
