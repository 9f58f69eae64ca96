package main

import "syscall"

// dieWithParent ends a process under test when the test binary itself is killed.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
