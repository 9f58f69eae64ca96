//go:build !linux

package sink

import "syscall"

// boundUnconfirmed does nothing where the system has no such setting: DefaultAnswerTimeout notices it then.
func boundUnconfirmed(string, string, syscall.RawConn) error { return nil }
