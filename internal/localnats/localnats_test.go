package localnats_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/hubtail/hubtail/internal/localnats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, opts localnats.Options) *localnats.Server {
	t.Helper()
	if opts.StoreDir == "" {
		opts.StoreDir = filepath.Join(t.TempDir(), "nats")
	}
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

func connect(t *testing.T, s *localnats.Server) jetstream.JetStream {
	t.Helper()
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestWhatIsAcknowledgedIsThereAfterRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "nats")
	s := start(t, localnats.Options{StoreDir: dir})
	js := connect(t, s)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	ack, err := js.Publish(t.Context(), "s.1", []byte("kept"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	js = connect(t, start(t, localnats.Options{StoreDir: dir}))
	stream, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	msg, err := stream.GetMsg(t.Context(), ack.Sequence)
	if err != nil || string(msg.Data) != "kept" {
		t.Fatalf("got %v, %v; want the message", msg, err)
	}
}

func TestNoListenerUnlessAsked(t *testing.T) {
	s := start(t, localnats.Options{})
	if url := s.URL(); url != "" {
		t.Errorf("URL %q of a server that should not listen", url)
	}
}

func TestListenerIsOnLoopback(t *testing.T) {
	for _, listen := range []string{"127.0.0.1:0", ":0", "localhost:0", "[::1]:0"} {
		s, err := localnats.Start(localnats.Options{StoreDir: t.TempDir(), Listen: listen})
		if listen == "[::1]:0" && err != nil {
			continue // no IPv6 here
		}
		if err != nil {
			t.Fatalf("%s: %v", listen, err)
		}
		host, _, err := net.SplitHostPort(strings.TrimPrefix(s.URL(), "nats://"))
		if err != nil || !(host == "localhost" || net.ParseIP(host).IsLoopback()) {
			t.Errorf("%s: listens on %s", listen, s.URL())
		}
		nc, err := nats.Connect(s.URL())
		if err != nil {
			t.Errorf("%s: %v", listen, err)
		} else {
			nc.Close()
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestBeyondLoopbackOnlyWithCredentials(t *testing.T) {
	_, err := localnats.Start(localnats.Options{StoreDir: t.TempDir(), Listen: "0.0.0.0:0"})
	if err == nil || !strings.Contains(err.Error(), "credentials") {
		t.Fatalf("open to everybody: got %v, want a refusal", err)
	}
	start(t, localnats.Options{Listen: "0.0.0.0:0", Token: "secret"})
	start(t, localnats.Options{Listen: "0.0.0.0:0", Insecure: true})
}

func TestCredentialsAreAskedOfEveryConnection(t *testing.T) {
	for name, opts := range map[string]localnats.Options{
		"password": {Listen: "127.0.0.1:0", User: "hubtail", Password: "secret"},
		"token":    {Listen: "127.0.0.1:0", Token: "secret"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, opts)
			if nc, err := nats.Connect(s.URL()); !errors.Is(err, nats.ErrAuthorization) {
				nc.Close()
				t.Errorf("without credentials: got %v, want a refusal", err)
			}
			if strings.Contains(s.URL(), "secret") {
				t.Errorf("URL %q shows the secret", s.URL())
			}
			connect(t, s) // our own connection brings them
		})
	}
}

func TestSecondServerOnOneDirectoryIsRefused(t *testing.T) {
	dir := t.TempDir()
	start(t, localnats.Options{StoreDir: dir})
	_, err := localnats.Start(localnats.Options{StoreDir: dir})
	if !errors.Is(err, localnats.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("got %v, want ErrInUse with the directory", err)
	}
}

func TestStoreDirectoryIsForItsOwnerOnly(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	start(t, localnats.Options{StoreDir: dir})
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, want 0700", info.Mode().Perm())
	}
}

func TestStartReturnsTheReasonItFailed(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		opts localnats.Options
		want string
	}{
		"no directory":        {localnats.Options{}, "store directory"},
		"directory is a file": {localnats.Options{StoreDir: file}, "not a directory"},
		"port is taken":       {localnats.Options{StoreDir: t.TempDir(), Listen: taken.Addr().String()}, "address already in use"},
		"no port":             {localnats.Options{StoreDir: t.TempDir(), Listen: "localhost"}, "missing port"},
		"port too large":      {localnats.Options{StoreDir: t.TempDir(), Listen: "localhost:70000"}, "0 to 65535"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := localnats.Start(tt.opts)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func TestMessageMayHave8MB(t *testing.T) {
	js := connect(t, start(t, localnats.Options{}))
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", make([]byte, localnats.MaxPayload-1024)); err != nil {
		t.Fatal(err)
	}
}

func TestCloseTwice(t *testing.T) {
	s := start(t, localnats.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
