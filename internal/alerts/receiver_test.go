package alerts

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// mailServer takes one e-mail.
func mailServer(t *testing.T) (address string, mail <-chan string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan string, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(time.Minute))
		in, all := bufio.NewReader(conn), ""
		say := func(line string) { fmt.Fprint(conn, line+"\r\n") }
		say("220 test ESMTP")
		for data := false; ; {
			line, err := in.ReadString('\n')
			if err != nil {
				return
			}
			all += line
			switch verb := strings.ToUpper(line[:min(4, len(line))]); {
			case data && line == ".\r\n":
				data = false
				say("250 taken")
			case data:
			case verb == "DATA":
				data = true
				say("354 go on")
			case verb == "QUIT":
				got <- all
				say("221 bye")
				return
			default:
				say("250 ok")
			}
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return listener.Addr().String(), got
}

func example() message {
	return message{"[test] The log is behind", "deals <b>&</b> contacts: look at the source.", &incident{Key: "source.stale", Since: time.Unix(1_700_000_000, 0)}}
}

func one(t *testing.T, address string) *Receiver {
	t.Helper()
	receivers, err := Parse([]string{address})
	if err != nil {
		t.Fatal(err)
	}
	return receivers[0]
}

func TestEmailArrives(t *testing.T) {
	t.Parallel()
	address, mail := mailServer(t)
	if err := one(t, "smtp://"+address+"/?from=hubtail@example.org&to=ops@example.org&starttls=no").send(t.Context(), example(), time.Minute); err != nil {
		t.Fatal(err)
	}
	got := <-mail
	for _, part := range []string{"MAIL FROM:<hubtail@example.org>", "RCPT TO:<ops@example.org>", "Subject: [test] The log is behind", "deals <b>&</b> contacts: look at the source."} {
		if !strings.Contains(got, part) {
			t.Errorf("%q is missing in:\n%s", part, got)
		}
	}
}

func TestWebhookGetsJSON(t *testing.T) {
	t.Parallel()
	h := newHook(t)
	if err := one(t, h.address()).send(t.Context(), example(), time.Minute); err != nil {
		t.Fatal(err)
	}
	if got := h.last; got["title"] != example().title || got["message"] != example().text || got["incident"] != "source.stale" || got["state"] != "open" || got["since"] != "2023-11-14T22:13:20Z" {
		t.Errorf("%v", got)
	}
	h.fails.Store(true)
	if err := one(t, h.address()).send(t.Context(), example(), time.Minute); err == nil || !strings.Contains(err.Error(), "500") {
		t.Errorf("%v", err)
	}
}

// TestTelegramAndSlackGetWhatTheyExpect has the library's requests for these hosts go to a server here.
func TestTelegramAndSlackGetWhatTheyExpect(t *testing.T) { // not parallel: it bends the default transport
	bodies := map[string]map[string]any{}
	answer := func(w http.ResponseWriter, r *http.Request) {
		var body map[string]any
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			t.Errorf("not JSON: %v", err)
		}
		bodies[r.Host+r.URL.Path] = body
		if r.Host == telegramHost {
			_, _ = io.WriteString(w, `{"ok":true,"result":{}}`)
			return
		}
		_, _ = io.WriteString(w, "ok")
	}
	standIn(t, answer)
	for _, address := range []string{
		"telegram://123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr@telegram?chats=-1001,@ops", "slack://hook:AAAAAAAAA-BBBBBBBBB-123456789123456789123456@webhook",
	} {
		if err := one(t, address).send(t.Context(), example(), time.Minute); err != nil {
			t.Errorf("%v", err)
		}
	}
	telegram := bodies[telegramHost+"/bot123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr/sendMessage"]
	if telegram["chat_id"] != "@ops" || telegram["parse_mode"] != "HTML" || telegram["text"] != "<b>[test] The log is behind</b>\ndeals &lt;b&gt;&amp;&lt;/b&gt; contacts: look at the source." {
		t.Errorf("Telegram gets %v", telegram)
	}
	slack := fmt.Sprint(bodies["hooks.slack.com/services/AAAAAAAAA/BBBBBBBBB/123456789123456789123456"])
	if !strings.Contains(slack, "The log is behind") || !strings.Contains(slack, "look at the source") {
		t.Errorf("Slack gets %v", slack)
	}
}

// standIn has all requests of the default transport answered here.
func standIn(t *testing.T, answer http.HandlerFunc) {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	before := http.DefaultTransport
	http.DefaultTransport = roundTripper(func(req *http.Request) (*http.Response, error) {
		bent := req.Clone(req.Context())
		bent.Host, bent.URL.Host = req.URL.Host, server.Listener.Addr().String()
		return server.Client().Transport.RoundTrip(bent)
	})
	t.Cleanup(func() { http.DefaultTransport = before })
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestATelegramThatDoesNotAnswerIsAFailure(t *testing.T) { // not parallel: it bends the default transport
	const address = "telegram://123456789:AAbbCCddEEffGGhhIIjjKKllMMnnOOppQQr@telegram?chats=1"
	for what, answer := range map[string]http.HandlerFunc{
		"Forbidden: bot was blocked": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			_, _ = io.WriteString(w, `{"ok":false,"error_code":403,"description":"Forbidden: bot was blocked"}`)
		},
		"502 Bad Gateway": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<html>", http.StatusBadGateway) },
		"200 OK":          func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>log in</html>") },
		"no answer":       func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(what, func(t *testing.T) {
			standIn(t, answer)
			if err := one(t, address).send(t.Context(), example(), time.Minute); err == nil || !strings.Contains(err.Error(), what) || strings.Contains(err.Error(), "GGhhII") {
				t.Errorf("%v", err)
			}
		})
	}
}
