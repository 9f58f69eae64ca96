package jetlog

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// MinServer is the first nats-server with atomic batch publish.
const MinServer = "2.12.0"

// ErrServerTooOld is returned by CheckServer and Ensure for a server that
// cannot store a page of events and its cursor as one.
var ErrServerTooOld = errors.New("nats-server is too old")

// CheckServer returns an error unless the connected server is at least MinServer.
func CheckServer(nc *nats.Conn) error {
	version := nc.ConnectedServerVersion()
	if version == "" {
		return errors.New("check nats-server: not connected")
	}
	if !atLeast(version, MinServer) {
		return fmt.Errorf("%w: %s runs %s, hubtail needs %s or newer for atomic batches; "+
			"upgrade it (image nats:2.12 or newer), or leave out --nats-url to use the embedded server",
			ErrServerTooOld, ServerOf(nc), version, MinServer)
	}
	return nil
}

// atLeast compares major.minor.patch; a suffix such as "-RC.1" is ignored.
func atLeast(version, least string) bool {
	have, want := versionParts(version), versionParts(least)
	for i := range want {
		if have[i] != want[i] {
			return have[i] > want[i]
		}
	}
	return true
}

func versionParts(version string) (parts [3]int) {
	version, _, _ = strings.Cut(strings.TrimPrefix(version, "v"), "-")
	for i, text := range strings.SplitN(version, ".", len(parts)) {
		parts[i], _ = strconv.Atoi(text)
	}
	return parts
}
