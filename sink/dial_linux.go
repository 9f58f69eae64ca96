package sink

import (
	"strings"
	"syscall"
)

// tcpUserTimeout is TCP_USER_TIMEOUT, which the package syscall does not name.
const tcpUserTimeout = 0x12

// boundUnconfirmed makes the kernel give up a connection on which sent bytes are not confirmed for long: keepalive probes
// are only sent where nothing is under way.
func boundUnconfirmed(network, _ string, conn syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	var err error
	if controlErr := conn.Control(func(fd uintptr) {
		err = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(silence.Milliseconds()))
	}); controlErr != nil {
		return controlErr
	}
	return err
}
