package jetlog_test

import (
	"bytes"
	"log/slog"
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/internal/localnats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// startNATS returns a JetStream of a fresh server.
func startNATS(t *testing.T) jetstream.JetStream {
	t.Helper()
	s := startServer(t, localnats.Options{StoreDir: t.TempDir()})
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return jetStream(t, nc)
}

func startServer(t *testing.T, opts localnats.Options) *localnats.Server {
	t.Helper()
	s, err := localnats.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func jetStream(t *testing.T, nc *nats.Conn) jetstream.JetStream {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// logBook is a slog target tests can wait on.
type logBook struct {
	mu   sync.Mutex // guards text
	text bytes.Buffer
	more chan struct{}
}

func newLogBook() *logBook { return &logBook{more: make(chan struct{}, 1)} }

func (b *logBook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func (b *logBook) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
	return b.text.Write(line)
}

// waitFor returns when text was logged; the test's deadline is the limit.
func (b *logBook) waitFor(t *testing.T, text string) {
	t.Helper()
	for {
		b.mu.Lock()
		all := b.text.String()
		b.mu.Unlock()
		if bytes.Contains([]byte(all), []byte(text)) {
			return
		}
		select {
		case <-b.more:
		case <-t.Context().Done():
			t.Fatalf("%q was not logged, only:\n%s", text, all)
		}
	}
}
