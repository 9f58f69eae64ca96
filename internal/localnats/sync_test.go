package localnats

import "testing"

func TestEveryAcknowledgementIsSynced(t *testing.T) {
	s, err := Start(Options{StoreDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if !s.server.JetStreamConfig().SyncAlways {
		t.Error("JetStream does not sync before it acknowledges")
	}
}
