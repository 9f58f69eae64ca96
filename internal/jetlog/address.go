package jetlog

import (
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// ErrURL is returned by Connect for what is no address of NATS servers.
var ErrURL = errors.New("NATS_URL is not understood: it should look like nats://user:password@host:4222, special characters percent-encoded")

// schemes are those that NATS servers are reached by. NATS rule: none is nats.
var schemes = []string{"nats", "tls", "ws", "wss"}

// Address returns the servers of a URL as they may be shown: without user, password, token and parameters. What cannot be
// taken apart is refused without its text: nobody knows where a password is in it.
func Address(text string) (string, error) {
	var shown []string
	for _, server := range strings.Split(text, ",") {
		if server = strings.TrimSpace(server); server == "" {
			continue
		}
		if !strings.Contains(server, "://") {
			server = "nats://" + server
		}
		u, err := url.Parse(server)
		if err != nil || u.Hostname() == "" {
			return "", ErrURL
		}
		// A password with one of / ? # in it ends the server's name early: the name then is of the user and the password.
		if strings.Contains(u.Path+u.RawQuery+u.Fragment, "@") {
			return "", ErrURL
		}
		if slices.Contains(schemes, u.Scheme) {
			shown = append(shown, u.Scheme+"://"+u.Host)
		} else {
			shown = append(shown, u.Host)
		}
	}
	return strings.Join(shown, ","), nil
}

// ServerOf returns the server of a connection as it may be shown. A token stands where NATS' own redacted form leaves it.
func ServerOf(nc *nats.Conn) string {
	address, err := Address(nc.ConnectedUrl())
	if err != nil {
		return nc.ConnectedAddr()
	}
	return address
}
