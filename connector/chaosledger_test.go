package connector

import (
	"slices"
	"strconv"
	"sync"

	"github.com/hubtail/hubtail/connector/simulator"
)

// chaosKind is what somebody did to a record.
type chaosKind uint8

const (
	chaosUpdate     chaosKind = iota // of one record
	chaosBulk                        // of thousands of records, in one millisecond
	chaosCreate                      // of one record
	chaosImport                      // of thousands of records at once
	chaosLink                        // an association made or removed, and what HubSpot changes along with it
	chaosCalculated                  // a value that changes without a new last-modified time
	chaosArchive
	chaosRestore
	chaosMerge
	chaosPurge
	chaosKinds
)

var chaosKindNames = [chaosKinds]string{
	"update", "bulk update", "create", "import", "link", "calculated", "archive", "restore", "merge", "purge",
}

func (k chaosKind) String() string { return chaosKindNames[k] }

var chaosObjects = []string{"contacts", "companies", "deals", "calls"}

// chaosID is a record: the index of its type in chaosObjects, and its id. The id is -1 for types that are none of these.
type chaosID struct {
	object int8
	id     int64
}

func chaosIDOf(object, id string) chaosID {
	i := slices.Index(chaosObjects, object)
	n, err := strconv.ParseInt(id, 10, 64)
	if i < 0 || err != nil {
		return chaosID{-1, -1}
	}
	return chaosID{int8(i), n}
}

// chaosChange is one change that the portal made. All times are epoch ms by HubSpot's clock, which is also ours.
type chaosChange struct {
	record       chaosID
	kind         chaosKind
	bumped, live bool
	at           int64
	modified     int64 // the record's last-modified time after it
	indexed      int64 // when search knows it
}

// chaosLedger is what happened in the portal, in order: what the log is held against.
type chaosLedger struct {
	mu        sync.Mutex // guards all below
	kind      chaosKind  // of the changes that come now
	changes   []chaosChange
	unclaimed [][]chaosChange  // by object: those that no watermark has passed yet
	ended     map[chaosID]bool // was archived, merged away or purged once: search may never show its last states
	reread    bool             // who is judged reads records again: what moves no time is to be found as well
}

func newChaosLedger() *chaosLedger {
	return &chaosLedger{unclaimed: make([][]chaosChange, len(chaosObjects)), ended: map[chaosID]bool{}}
}

// expect says what the changes that come now are.
func (l *chaosLedger) expect(kind chaosKind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kind = kind
}

// observe is the simulator's Options.Observe.
func (l *chaosLedger) observe(c simulator.Change) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change := chaosChange{
		record: chaosIDOf(c.Object, c.ID), kind: l.kind, bumped: c.Bumped, live: c.Live,
		at: c.At.UnixMilli(), modified: c.UpdatedAt.UnixMilli(), indexed: c.IndexedAt.UnixMilli(),
	}
	if change.record.object < 0 {
		return
	}
	l.changes = append(l.changes, change)
	if !change.live {
		l.ended[change.record] = true
	}
	if change.bumped && change.live {
		l.unclaimed[change.record.object] = append(l.unclaimed[change.record.object], change)
	}
}

// claimed takes the changes out that were made before a watermark: each of them has to be in the log by now. HubSpot rule:
// a record that was archived is not found by search, and neither archiving nor restoring moves its last-modified time, so
// that no watermark speaks of it any longer.
func (l *chaosLedger) claimed(object int, through int64) (claimed []chaosChange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unclaimed[object] = slices.DeleteFunc(l.unclaimed[object], func(c chaosChange) bool {
		if c.modified >= through {
			return false
		}
		if !l.ended[c.record] {
			claimed = append(claimed, c)
		}
		return true
	})
	return claimed
}

// last returns the last change of every record that changed.
func (l *chaosLedger) last() map[chaosID]chaosChange {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := make(map[chaosID]chaosChange)
	for _, c := range l.changes {
		last[c.record] = c
	}
	return last
}

// end returns when the last change was made, and when search knows all of them.
func (l *chaosLedger) end() (made, indexed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.changes {
		made, indexed = max(made, c.at, c.modified), max(indexed, c.indexed)
	}
	return made, indexed
}
