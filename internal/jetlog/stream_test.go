package jetlog_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/jetlog"
)

func ensure(t *testing.T, js jetstream.JetStream, cfg jetstream.StreamConfig) jetstream.StreamConfig {
	t.Helper()
	stream, err := jetlog.Ensure(t.Context(), js, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return stream.CachedInfo().Config
}

func TestEnsureCreatesTheLog(t *testing.T) {
	js := startNATS(t)
	got := ensure(t, js, jetlog.StreamConfig("HUBSPOT", 1))
	switch {
	case got.Storage != jetstream.FileStorage, got.MaxAge != 0, got.MaxMsgsPerSubject != jetlog.History,
		!got.AllowAtomicPublish, !got.AllowDirect, got.Compression != jetstream.S2Compression, got.DenyPurge:
		t.Errorf("created %+v", got)
	}
	again := ensure(t, js, jetlog.StreamConfig("HUBSPOT", 1))
	if again.MaxMsgsPerSubject != got.MaxMsgsPerSubject {
		t.Error("a second Ensure changed it")
	}
}

func TestEnsureFromSeveralProcessesAtOnce(t *testing.T) {
	js := startNATS(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := jetlog.Ensure(t.Context(), js, jetlog.StreamConfig("HUBSPOT", 1)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestEnsureRaisesWhatMayBeRaised(t *testing.T) {
	js := startNATS(t)
	old := jetlog.StreamConfig("HUBSPOT", 1)
	old.AllowAtomicPublish, old.AllowDirect = false, false
	old.Compression = jetstream.NoCompression
	old.MaxMsgsPerSubject = 1
	old.Metadata = map[string]string{"theirs": "kept"}
	if _, err := js.CreateStream(t.Context(), old); err != nil {
		t.Fatal(err)
	}

	want := jetlog.StreamConfig("HUBSPOT", 1)
	want.Metadata = map[string]string{"ours": "added"}
	got := ensure(t, js, want)
	if !got.AllowAtomicPublish || !got.AllowDirect || got.Compression != jetstream.S2Compression || got.MaxMsgsPerSubject != jetlog.History {
		t.Errorf("not raised: %+v", got)
	}
	if got.Metadata["theirs"] != "kept" || got.Metadata["ours"] != "added" {
		t.Errorf("metadata %v", got.Metadata)
	}
}

func TestEnsureNeverLowersHistory(t *testing.T) {
	for name, history := range map[string]int64{"longer": 100, "unlimited": -1} {
		t.Run(name, func(t *testing.T) {
			js := startNATS(t)
			old := jetlog.StreamConfig("HUBSPOT", 1)
			old.MaxMsgsPerSubject = history
			if _, err := js.CreateStream(t.Context(), old); err != nil {
				t.Fatal(err)
			}
			if got := ensure(t, js, jetlog.StreamConfig("HUBSPOT", 1)); got.MaxMsgsPerSubject != history {
				t.Errorf("history %d became %d", history, got.MaxMsgsPerSubject)
			}
		})
	}
}

func TestEnsureRefusesADangerousStream(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*jetstream.StreamConfig)
		want   string
	}{
		"memory": {func(c *jetstream.StreamConfig) { c.Storage = jetstream.MemoryStorage }, "memory"},
		"asynchronous": {func(c *jetstream.StreamConfig) {
			c.PersistMode, c.AllowAtomicPublish = jetstream.AsyncPersistMode, false
		}, "persist mode async"},
		"no acknowledgment": {func(c *jetstream.StreamConfig) { c.NoAck, c.AllowAtomicPublish = true, false }, "--ack"},
		"age":               {func(c *jetstream.StreamConfig) { c.MaxAge = time.Hour }, "--max-age"},
		"count":             {func(c *jetstream.StreamConfig) { c.MaxMsgs = 1000 }, "--max-msgs"},
		"bytes":             {func(c *jetstream.StreamConfig) { c.MaxBytes = 1 << 20 }, "--max-bytes"},
		"work queue":        {func(c *jetstream.StreamConfig) { c.Retention = jetstream.WorkQueuePolicy }, "retention"},
		"no purge":          {func(c *jetstream.StreamConfig) { c.DenyPurge = true }, "privacy"},
		"other subjects":    {func(c *jetstream.StreamConfig) { c.Subjects = []string{"hubspot.1.>"} }, "--subjects 'hubspot.>'"},
		"transform": {func(c *jetstream.StreamConfig) {
			c.SubjectTransform = &jetstream.SubjectTransformConfig{Source: "hubspot.>", Destination: "x.>"}
		}, "transform"},
	} {
		t.Run(name, func(t *testing.T) {
			js := startNATS(t)
			bad := jetlog.StreamConfig("HUBSPOT", 1)
			tt.change(&bad)
			if _, err := js.CreateStream(t.Context(), bad); err != nil {
				t.Fatal(err)
			}
			_, err := jetlog.Ensure(t.Context(), js, jetlog.StreamConfig("HUBSPOT", 1))
			if !errors.Is(err, jetlog.ErrDangerousStream) || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("got %v, want ErrDangerousStream that says %q", err, tt.want)
			}
		})
	}
}

func TestEnsureNamesEveryReasonAtOnce(t *testing.T) {
	bad := jetlog.StreamConfig("HUBSPOT", 1)
	bad.MaxAge, bad.DenyPurge = time.Hour, true
	err := jetlog.Check(bad, jetlog.StreamConfig("HUBSPOT", 1))
	if err == nil || !strings.Contains(err.Error(), "privacy") || !strings.Contains(err.Error(), "1h0m0s") {
		t.Fatalf("got %v, want both reasons", err)
	}
}

func TestFullStreamThatRefusesIsSafe(t *testing.T) {
	full := jetlog.StreamConfig("HUBSPOT", 1)
	full.MaxBytes, full.Discard = 1<<30, jetstream.DiscardNew
	if err := jetlog.Check(full, jetlog.StreamConfig("HUBSPOT", 1)); err != nil {
		t.Fatal(err)
	}
}

func TestEnsureNamesTheStreamThatHasTheSubjects(t *testing.T) {
	js := startNATS(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "CRM", Subjects: []string{"hubspot.*.contacts.>"}}); err != nil {
		t.Fatal(err)
	}
	_, err := jetlog.Ensure(t.Context(), js, jetlog.StreamConfig("HUBSPOT", 1))
	if err == nil || !strings.Contains(err.Error(), "CRM") {
		t.Fatalf("got %v, want the name of the other stream", err)
	}
}

func TestWaitReturnsOnceTheStreamExists(t *testing.T) {
	js := startNATS(t)
	found := make(chan error, 1)
	go func() {
		_, err := jetlog.Wait(t.Context(), js, "HUBSPOT")
		found <- err
	}()
	ensure(t, js, jetlog.StreamConfig("HUBSPOT", 1))
	if err := <-found; err != nil {
		t.Fatal(err)
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	js := startNATS(t)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := jetlog.Wait(ctx, js, "HUBSPOT")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "HUBSPOT") {
		t.Fatalf("got %v, want the context's error and the stream's name", err)
	}
}

func TestIdentityTellsARecreatedStream(t *testing.T) {
	js := startNATS(t)
	identity := func() string {
		stream, err := jetlog.Ensure(t.Context(), js, jetlog.StreamConfig("HUBSPOT", 1))
		if err != nil {
			t.Fatal(err)
		}
		info, err := stream.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return jetlog.Identity(info)
	}
	first := identity()
	if again := identity(); again != first {
		t.Errorf("the same stream is %s and %s", first, again)
	}
	if err := js.DeleteStream(t.Context(), "HUBSPOT"); err != nil {
		t.Fatal(err)
	}
	if second := identity(); second == first {
		t.Errorf("a recreated stream is still %s", first)
	}
}
