package alerts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nicholas-fedor/shoutrrr/pkg/router"
	"github.com/nicholas-fedor/shoutrrr/pkg/types"
)

// ErrAddress says that an address is none that alerts can be sent to.
var ErrAddress = errors.New("not an address for alerts")

// Receiver is where alerts go to.
type Receiver struct {
	Name    string // of the service, and of the host where that is no secret
	id      string // a hash of the address
	scheme  string
	service types.Service
	secrets []string // parts of the address that are never shown
	busy    atomic.Bool
}

// hosted are services whose address names a server; with all others the host may be a secret, too.
var hosted = []string{"smtp", "generic", "ntfy", "gotify", "matrix", "mattermost", "rocketchat", "zulip", "signal"}

// titled are services that show a title; for all others it is the first line.
var titled = []string{"smtp", "telegram", "slack", "generic", "discord", "gotify", "ntfy", "pushover"}

// Parse returns the receivers of addresses, which are those of shoutrrr: telegram://..., smtp://..., slack://...,
// generic+https://..., and more.
func Parse(addresses []string) ([]*Receiver, error) {
	trustOnlyAnswers()
	var all []*Receiver
	for n, address := range addresses {
		r, err := parse(address)
		if err != nil {
			return nil, fmt.Errorf("address %d of %d is %w", n+1, len(addresses), err)
		}
		if !slices.ContainsFunc(all, func(known *Receiver) bool { return known.id == r.id }) {
			all = append(all, r)
		}
	}
	return all, nil
}

func parse(address string) (*Receiver, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme == "" {
		return nil, fmt.Errorf("%w: it should look like telegram://TOKEN@telegram?chats=ID, smtp://USER:PASSWORD@HOST:587/?from=A&to=B, slack://hook:A-B-C@webhook or generic+https://HOST/PATH", ErrAddress)
	}
	sum := sha256.Sum256([]byte(address))
	r := &Receiver{Name: u.Scheme, id: hex.EncodeToString(sum[:6]), secrets: secretParts(u)}
	r.scheme, _, _ = strings.Cut(u.Scheme, "+")
	if slices.Contains(hosted, r.scheme) && u.Hostname() != "" {
		r.Name = r.scheme + " " + u.Host
	}
	if query := u.Query(); r.scheme == "generic" && !query.Has("template") { // a webhook is JSON unless told otherwise
		query.Set("template", "json")
		u.RawQuery = query.Encode()
	}
	if r.service, err = (&router.ServiceRouter{}).Locate(u.String()); err != nil {
		return nil, fmt.Errorf("%w of %s: %s", ErrAddress, r.Name, r.redact(err))
	}
	return r, nil
}

// secretParts returns whatever in an address may be a secret. Short words are none: they would make holes in every error.
func secretParts(u *url.URL) (parts []string) {
	password, _ := u.User.Password()
	pieces := []string{u.String(), u.User.String(), u.User.Username(), password}
	pieces = append(pieces, strings.Split(u.Path, "/")...)
	for _, values := range u.Query() {
		pieces = append(pieces, values...)
	}
	scheme, _, _ := strings.Cut(u.Scheme, "+")
	if !slices.Contains(hosted, scheme) {
		pieces = append(pieces, u.Host)
	}
	for _, piece := range slices.Clone(pieces) {
		pieces = append(pieces, strings.FieldsFunc(piece, func(c rune) bool { return strings.ContainsRune("-:/,", c) })...)
	}
	for _, piece := range pieces {
		for _, form := range []string{piece, url.QueryEscape(piece), url.PathEscape(piece)} {
			if len(form) >= 6 && form != "telegram" && form != "webhook" {
				parts = append(parts, form)
			}
		}
	}
	slices.SortFunc(parts, func(a, b string) int { return len(b) - len(a) }) // the whole before its parts
	return slices.Compact(parts)
}

var anyURL = regexp.MustCompile(`[a-zA-Z][a-zA-Z0-9+.-]*://[^\s"]+`)

// redact returns what an error says, without addresses and their parts.
func (r *Receiver) redact(err error) string {
	text := anyURL.ReplaceAllString(err.Error(), "(address)")
	for _, secret := range r.secrets {
		text = strings.ReplaceAll(text, secret, "(hidden)")
	}
	return strings.Join(strings.Fields(text), " ")
}

// Test sends a message that says that it is a test.
func (r *Receiver) Test(ctx context.Context, name string) error {
	title := "hubtail: a test"
	if name != "" {
		title = "[" + name + "] A test"
	}
	return r.send(ctx, message{title: title, text: "This is a test of hubtail's alerts. Nothing is wrong."}, 30*time.Second)
}

// errBusy says that what was sent before still has no answer.
var errBusy = errors.New("still waits for an answer to the message before")

// send delivers a message, or says why that failed. The library takes no context, and its e-mail may wait for ever for a
// server that hangs: it is then left waiting, one message at most, and counts as failed.
func (r *Receiver) send(ctx context.Context, m message, bound time.Duration) error {
	if !r.busy.CompareAndSwap(false, true) {
		return errBusy
	}
	done := make(chan error, 1)
	go func() {
		err := r.deliver(m)
		r.busy.Store(false) // before the answer is told: the next message may follow at once
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			return errors.New(r.redact(err))
		}
		return nil
	case <-time.After(bound):
		return fmt.Errorf("no answer within %s", bound)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Receiver) deliver(m message) error {
	text, params := m.text, types.Params{}
	if slices.Contains(titled, r.scheme) {
		params["title"] = m.title
	} else {
		text = m.title + "\n" + text
	}
	if r.scheme == "generic" && m.incident != nil { // for machines
		params["incident"], params["state"], params["since"] = m.incident.Key, "open", m.incident.Since.UTC().Format(time.RFC3339)
		if !m.incident.Over.IsZero() {
			params["state"], params["over"] = "over", m.incident.Over.UTC().Format(time.RFC3339)
		}
	}
	return r.service.Send(text, &params)
}
