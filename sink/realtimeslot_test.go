package sink_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/internal/localpg"
	"github.com/hubtail/hubtail/sink"
)

// logicalDatabase returns a database of a server of its own whose log can be decoded, as Supabase's can.
func logicalDatabase(t *testing.T) string {
	t.Helper()
	parent, err := os.MkdirTemp("/tmp", "hubtail-logical-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(parent) })
	if err := os.Chmod(parent, 0o755); err != nil { // Postgres may run as another user
		t.Fatal(err)
	}
	options := localpg.Options{Dir: filepath.Join(parent, "postgres"), NoSync: true}
	start := func() *localpg.Cluster {
		c, err := localpg.Start(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	cluster := start()
	(&bundle{t: t, pool: openPool(t, cluster.URL("postgres"))}).exec(`alter system set wal_level = logical`)
	if err := cluster.Stop(); err != nil {
		t.Fatal(err)
	}
	cluster = start() // the setting needs a new start
	t.Cleanup(func() { _ = cluster.Stop() })
	if err := localpg.EnsureSupabaseRoles(t.Context(), cluster.URL("postgres")); err != nil {
		t.Fatal(err)
	}
	if err := cluster.CreateDatabase(context.WithoutCancel(t.Context()), "realtime"); err != nil {
		t.Fatal(err)
	}
	return cluster.URL("realtime")
}

// slot reads what a logical replication slot brings of a publication, as Realtime does, with the server's own decoder.
type slot struct {
	*bundle
	relations map[uint32]string
}

// openSlot makes a slot that begins with the next change.
func (b *bundle) openSlot() *slot {
	b.t.Helper()
	b.exec(`select pg_create_logical_replication_slot('realtime', 'pgoutput')`)
	return &slot{b, map[uint32]string{}}
}

// changes returns what came since the last time: "update hubspot.contacts 1 ann@x".
func (s *slot) changes() (changes []string) {
	s.t.Helper()
	// A slot shows what is on disk, and a server of tests does not wait for that.
	s.exec(`begin; set local synchronous_commit = on; select pg_logical_emit_message(true, 'test', 'flush'); commit`)
	rows, err := s.pool.Query(s.t.Context(), `select data from pg_logical_slot_get_binary_changes('realtime', null, null, 'proto_version', '1', 'publication_names', $1)`, sink.Realtime)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var data []byte
		if err := rows.Scan(&data); err != nil {
			s.t.Fatal(err)
		}
		if change := s.decode(data); change != "" {
			changes = append(changes, change)
		}
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	return changes
}

// decode reads a message of Postgres' logical replication protocol, version 1; "" if it is no change of a row.
func (s *slot) decode(data []byte) string {
	verb, is := map[byte]string{'I': "insert", 'U': "update", 'D': "delete", 'T': "truncate"}[data[0]]
	switch {
	case data[0] == 'R': // id, schema, table, ...
		names := bytes.SplitN(data[5:], []byte{0}, 3)
		s.relations[binary.BigEndian.Uint32(data[1:])] = fmt.Sprintf("%s.%s", names[0], names[1])
		return ""
	case !is:
		return ""
	case data[0] == 'T':
		return verb
	}
	change := []string{verb, s.relations[binary.BigEndian.Uint32(data[1:])]}
	at := 6 // behind the id and the kind of the tuple
	if data[5] != 'N' && data[0] == 'U' {
		s.t.Fatalf("an update with its old row: %q", data)
	}
	columns := int(binary.BigEndian.Uint16(data[at:]))
	for at += 2; columns > 0; columns-- {
		kind := data[at]
		if at++; kind == 't' {
			n := int(binary.BigEndian.Uint32(data[at:]))
			change = append(change, string(data[at+4:at+4+n]))
			at += 4 + n
		}
	}
	return strings.Join(change, " ")
}

// wantChanges fails unless the changes of the tables are those of rows that have these values, in order.
func (s *slot) wantChanges(what string, want ...[]string) {
	s.t.Helper()
	got := s.changes()
	if len(got) != len(want) {
		s.t.Fatalf("%s: the slot brings %q, want %q", what, got, want)
	}
	for i, values := range want {
		words := strings.Fields(got[i])
		for _, v := range values {
			if !slices.Contains(words, v) {
				s.t.Errorf("%s: the slot brings %q, which lacks %q", what, got[i], v)
			}
		}
	}
}

// TestRealtimeReadsChangesOfExposedTablesFromTheServersLog reads the log of a real server through a slot. A rebuild tells
// subscribers nothing while it fills, and its tables are followed from the swap on.
func TestRealtimeReadsChangesOfExposedTablesFromTheServersLog(t *testing.T) {
	t.Parallel()
	r := &rig{bundle: setupOn(t, logicalDatabase(t))}
	r.startNATS()
	run := r.start()
	r.applied(r.publish(
		definitions(t, "contacts", 0, "email", "string"), definitions(t, "deals", 0, "name", "string"),
		event("contacts", 1, 1, props{"email": "ann@x"}), event("contacts", 2, 1, props{"email": "bob@x"}), event("deals", 1, 1, props{"name": "d"}),
	))
	r.expose(sink.Exposure{Object: "contacts", Realtime: true})
	s := r.openSlot()
	change := func(email string) {
		t.Helper()
		r.applied(r.publish(event("deals", 1, 2, props{"name": email}), event("contacts", 1, 2, props{"email": email})))
	}
	change("ann@y")
	s.wantChanges("a change", []string{"update", "hubspot.contacts", "1", "ann@y"})
	r.applied(r.publish(event("contacts", 3, 1, props{"email": "cid@x"})))
	s.wantChanges("a new record", []string{"insert", "hubspot.contacts", "3", "cid@x"})

	r.rebuild(run.Sink, sink.RebuildOptions{})
	s.wantChanges("a rebuild")
	change("ann@z")
	s.wantChanges("a change after a rebuild", []string{"update", "hubspot.contacts", "1", "ann@z"})

	if _, err := run.Sink.Rollback(t.Context(), sink.RebuildOptions{}); err != nil {
		t.Fatal(err)
	}
	s.changes() // what the way back has to catch up with may come as changes
	change("ann@w")
	s.wantChanges("a change after the way back", []string{"update", "hubspot.contacts", "1", "ann@w"})
	r.expose(sink.Exposure{Object: "contacts"})
	change("ann@v")
	s.wantChanges("a change of what is exposed without Realtime")
	if err := run.stop(); err != nil {
		t.Fatal(err)
	}
}
