package localpg

import "syscall"

// processAttributes ends the server (fast shutdown) when the thread that started
// it ends, so even kill -9 of this process leaves no server behind, and keeps a
// Ctrl-C in the terminal from reaching the server before us.
func processAttributes(a *account) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Setpgid:    true,
		Pdeathsig:  syscall.SIGINT,
		Credential: a.credential(),
	}
}
