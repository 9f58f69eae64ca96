package jetlog_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/internal/localnats"
)

func TestConnectionHealsItself(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, localnats.Options{StoreDir: dir, Listen: "127.0.0.1:0"})
	address := strings.TrimPrefix(s.URL(), "nats://")
	book := newLogBook()
	nc, err := jetlog.Connect(t.Context(), jetlog.Config{URL: s.URL(), Logger: book.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()

	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	book.waitFor(t, "nats connection lost")
	startServer(t, localnats.Options{StoreDir: dir, Listen: address})
	book.waitFor(t, "nats connection restored")
	if err := jetlog.CheckServer(nc); err != nil {
		t.Error(err)
	}
}

// TestAUserWhoIsRefusedForAWhileComesBack has the server know another token for a while.
func TestAUserWhoIsRefusedForAWhileComesBack(t *testing.T) {
	dir := t.TempDir()
	s := startServer(t, localnats.Options{StoreDir: dir, Listen: "127.0.0.1:0", Token: "right"})
	address := strings.TrimPrefix(s.URL(), "nats://")
	book, refusals := newLogBook(), make(chan struct{}, 100)
	nc, err := jetlog.Connect(t.Context(), jetlog.Config{
		URL: "nats://right@" + address, Logger: book.logger(), Options: []nats.Option{
			nats.ReconnectWait(50 * time.Millisecond), nats.ReconnectJitter(time.Millisecond, time.Millisecond),
			nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
				if errors.Is(err, nats.ErrAuthorization) {
					refusals <- struct{}{}
				}
			}),
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	other := startServer(t, localnats.Options{StoreDir: dir, Listen: address, Token: "other"})
	for range 4 { // NATS rule: two in a row end a connection unless told otherwise
		select {
		case <-refusals:
		case <-time.After(time.Minute):
			t.Fatalf("it does not try again; it is %s", nc.Status())
		}
	}
	if err := other.Close(); err != nil {
		t.Fatal(err)
	}
	startServer(t, localnats.Options{StoreDir: dir, Listen: address, Token: "right"})
	book.waitFor(t, "nats connection restored")
}

func TestConnectWaitsForServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()

	book := newLogBook()
	done := make(chan error, 1)
	go func() {
		nc, err := jetlog.Connect(t.Context(), jetlog.Config{URL: "nats://" + address, Wait: time.Minute, Logger: book.logger()})
		if err == nil {
			nc.Close()
		}
		done <- err
	}()
	book.waitFor(t, "nats does not answer yet")
	startServer(t, localnats.Options{StoreDir: t.TempDir(), Listen: address})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestConnectEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := jetlog.Connect(ctx, jetlog.Config{URL: "nats://127.0.0.1:1", Wait: time.Hour})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want the context's error", err)
	}
}

func TestRefusedCredentialsAreNotRetried(t *testing.T) {
	s := startServer(t, localnats.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Token: "right"})
	url := strings.Replace(s.URL(), "://", "://wrong-secret@", 1)
	_, err := jetlog.Connect(t.Context(), jetlog.Config{URL: url, Wait: time.Hour})
	if !errors.Is(err, nats.ErrAuthorization) {
		t.Fatalf("got %v, want a refusal", err)
	}
	if strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("error %q shows the token", err)
	}
}

func TestNoErrorCarriesASecret(t *testing.T) {
	for _, url := range []string{
		"nats://user:pa55word@127.0.0.1:1,",
		"nats://user:pa55word@127.0.0.1:1,nats://other:pa55word@127.0.0.1:2",
		"nats://user:pa55word@127.0.0.1:bad",
		"nats://user:pa55 word@127.0.0.1:1",
		"nats://user:pa55%zzword@127.0.0.1:1",
		"nats://user:pa55@word@127.0.0.1:1",
		"user:pa55word@127.0.0.1:1",
		"pa55word@127.0.0.1:1",
		" user:pa55word@127.0.0.1:1 , pa55word@127.0.0.1:2",
		"nats://user:pa55/word@127.0.0.1:1",
		"nats://user:55/pa55@127.0.0.1:1",
		"nats://pa55/word@127.0.0.1:1",
		"nats://user:pa55#word@127.0.0.1:1",
		"nats://user:55#pa55word@127.0.0.1:1",
		"nats://user:pa55?word@127.0.0.1:1",
		"nats://127.0.0.1:1?token=pa55word",
		"127.0.0.1:1/?token=pa55word#pa55word",
		"user:pa55://word@127.0.0.1:1",
		"pa55://word@127.0.0.1:1",
		"nats://user:pa55,word@127.0.0.1:1",
		"user:pa55word",
	} {
		_, err := jetlog.Connect(t.Context(), jetlog.Config{URL: url})
		if err == nil {
			t.Fatalf("%s: connected", url)
		}
		if strings.Contains(err.Error(), "pa55") || strings.Contains(err.Error(), "word") && !strings.Contains(err.Error(), "password") {
			t.Errorf("%s: error shows the password: %v", url, err)
		}
		if !errors.Is(err, jetlog.ErrURL) && !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("%s: error does not name the server: %v", url, err)
		}
	}
}

func TestServersAreShownWithoutTheirSecrets(t *testing.T) {
	s := startServer(t, localnats.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Token: "pa55word"})
	nc, err := jetlog.Connect(t.Context(), jetlog.Config{URL: strings.Replace(s.URL(), "://", "://pa55word@", 1) + "/?token=pa55word"})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if got := jetlog.ServerOf(nc); got != s.URL() {
		t.Errorf("connected to %s, want %s", got, s.URL())
	}
}

func TestRefusedOperationReachesTheLog(t *testing.T) {
	book := newLogBook()
	address := fakeServer(t, "2.12.0", "-ERR 'Permissions Violation for Publish to \"$JS.API.INFO\"'\r\n")
	nc, err := jetlog.Connect(t.Context(), jetlog.Config{URL: address, Logger: book.logger()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	book.waitFor(t, "nats refuses an operation")
	book.waitFor(t, "$JS.API.INFO")
}

func TestCheckServer(t *testing.T) {
	for version, ok := range map[string]bool{
		"2.12.0": true, "2.12.0-RC.1": true, "2.15.2": true, "3.0.0": true, "2.100.0": true,
		"2.11.9": false, "2.2.0": false, "1.4.1": false, "0.0.0": false,
	} {
		t.Run(version, func(t *testing.T) {
			nc, err := nats.Connect(fakeServer(t, version, ""))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			err = jetlog.CheckServer(nc)
			if ok && err != nil {
				t.Errorf("refused: %v", err)
			}
			if !ok && (!errors.Is(err, jetlog.ErrServerTooOld) || !strings.Contains(err.Error(), version) || !strings.Contains(err.Error(), "nats:2.12")) {
				t.Errorf("got %v, want ErrServerTooOld with both versions", err)
			}
		})
	}
}

// fakeServer speaks just enough of the protocol to be connected to: it claims
// a version, answers pings, and says extra after the first one.
func fakeServer(t *testing.T, version, extra string) (url string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(conn, "INFO {\"server_id\":\"x\",\"version\":%q,\"max_payload\":1048576,\"headers\":true}\r\n", version)
		lines := bufio.NewScanner(conn)
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), "PING") {
				fmt.Fprintf(conn, "PONG\r\n%s", extra)
				extra = ""
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	return "nats://" + l.Addr().String()
}

// TestServersThatAreDownAreAwayWhateverTheirURL has addresses with the words of refusals in them.
func TestServersThatAreDownAreAwayWhateverTheirURL(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	t.Cleanup(proxy.Close)
	for _, url := range []string{
		strings.Replace(proxy.URL, "http://", "ws://", 1),
		"nats://127.0.0.1:1",
		"tls://127.0.0.1:1",
		"nats://user:authorization@127.0.0.1:1",
		"nats://permission-service.invalid:1",
		"tls://credential-parse-nkey.invalid:1,nats://certificate.invalid:1",
	} {
		_, err := jetlog.Connect(t.Context(), jetlog.Config{URL: url})
		if err == nil || !jetlog.Away(err) || jetlog.Refused(err) {
			t.Errorf("%s is not waited for: %v", url, err)
		}
	}
}

func TestSettingsThatCannotWorkAreNotWaitedFor(t *testing.T) {
	t.Parallel()
	plain := startServer(t, localnats.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0"})
	secured := startServer(t, localnats.Options{StoreDir: t.TempDir(), Listen: "127.0.0.1:0", Token: "right"})
	for name, cfg := range map[string]jetlog.Config{
		"TLS from a server without":  {URL: strings.Replace(plain.URL(), "nats://", "tls://", 1)},
		"a token that is wrong":      {URL: strings.Replace(secured.URL(), "://", "://wrong@", 1)},
		"a user who is not known":    {URL: strings.Replace(secured.URL(), "://", "://user:wrong@", 1)},
		"no token":                   {URL: secured.URL()},
		"credentials that are not":   {URL: plain.URL(), Creds: t.TempDir() + "/none.creds"},
		"authorities that are not":   {URL: "tls://127.0.0.1:1", CA: t.TempDir() + "/none.pem"},
		"a port that no server uses": {URL: "nats://127.0.0.1:99999"},
	} {
		nc, err := jetlog.Connect(t.Context(), jetlog.Config{URL: cfg.URL, Creds: cfg.Creds, CA: cfg.CA, Wait: time.Hour})
		if err == nil {
			nc.Close()
			t.Errorf("%s: connected", name)
			continue
		}
		if jetlog.Away(err) || !jetlog.Refused(err) {
			t.Errorf("%s is waited for: %v", name, err)
		}
	}
}
