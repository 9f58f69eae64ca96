package connector

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// chaosControl is another connector: it searches the same portal with the same client, at the same pace and quota, and
// remembers how far it got by a rule of its own. The newest state of a record that it met is its row.
type chaosControl struct {
	name   string
	poll   func(*chaosControl, context.Context, *chaosCursor) error
	size   chaosSize
	client *hubspot.Client
	rows   map[chaosID]chaosState
	kept   int // rows written, one more time each time they differ
}

// chaosCursor is how far a control got in one object type.
type chaosCursor struct {
	object hubspot.Object
	names  []string
	seen   int64 // newest modification time met, or the bookmark; epoch ms
}

// chaosControls are the rules, as they are found in connectors that poll by last-modified time.
func chaosControls() []*chaosControl {
	return []*chaosControl{
		{name: "newer than the newest seen (GT)", poll: (*chaosControl).newerThan},
		{name: "newest seen + 1 ms, page by page", poll: (*chaosControl).plusOne},
		{name: "one page a tick", poll: (*chaosControl).onePage},
		{name: "window up to now, bookmark = now", poll: (*chaosControl).window},
		{name: "by offset, first 10,000, 1 min overlap", poll: (*chaosControl).tenThousand},
	}
}

// page searches one page and keeps its rows. It returns the page's newest modification time.
func (c *chaosControl) page(ctx context.Context, cursor *chaosCursor, offset int, filters ...hubspot.Filter) (newest int64, found hubspot.SearchPage, err error) {
	found, err = c.client.Search(ctx, hubspot.SearchRequest{
		Object: cursor.object, Filters: filters, SortBy: cursor.object.ModifiedProperty, After: offset, Properties: cursor.names,
	})
	for _, r := range found.Records {
		id, modified := chaosIDOf(cursor.object.Name, r.ID), r.UpdatedAt.UnixMilli()
		newest = max(newest, modified)
		if modified < c.rows[id].modified {
			continue
		}
		hash, err := chaosHash(schemas.ContentHash(false, "", r.Properties))
		if err != nil {
			return 0, found, err
		}
		if row := (chaosState{modified: modified, hash: hash}); c.rows[id] != row {
			c.rows[id] = row
			c.kept++
		}
	}
	return newest, found, err
}

func (c *chaosCursor) modified(operator string, ms int64) hubspot.Filter {
	return hubspot.Filter{Property: c.object.ModifiedProperty, Operator: operator, Value: strconv.FormatInt(max(ms, 1000), 10)}
}

// pages goes through all pages of a search by offset, and returns the newest time met. more says that the search has more
// results than HubSpot shows.
func (c *chaosControl) pages(ctx context.Context, cursor *chaosCursor, filters ...hubspot.Filter) (newest int64, more bool, err error) {
	for offset := 0; offset < 10_000; {
		n, found, err := c.page(ctx, cursor, offset, filters...)
		if err != nil {
			return newest, false, err
		}
		if newest = max(newest, n); found.Next == 0 {
			return newest, false, nil
		}
		offset = found.Next
	}
	return newest, true, nil
}

// newerThan: modified > newest seen; after 10,000 results the next search begins there.
func (c *chaosControl) newerThan(ctx context.Context, cursor *chaosCursor) error {
	for {
		newest, more, err := c.pages(ctx, cursor, cursor.modified("GT", cursor.seen))
		if err != nil {
			return err
		}
		if cursor.seen = max(cursor.seen, newest); !more {
			return nil
		}
	}
}

// plusOne: modified >= newest seen + 1 ms, and so for every page, so that no offset is needed.
func (c *chaosControl) plusOne(ctx context.Context, cursor *chaosCursor) error {
	for {
		newest, found, err := c.page(ctx, cursor, 0, cursor.modified("GTE", cursor.seen+1))
		if err != nil {
			return err
		}
		if cursor.seen = max(cursor.seen, newest); found.Next == 0 {
			return nil
		}
	}
}

// onePage: modified >= newest seen, one page each time.
func (c *chaosControl) onePage(ctx context.Context, cursor *chaosCursor) error {
	newest, _, err := c.page(ctx, cursor, 0, cursor.modified("GTE", cursor.seen))
	cursor.seen = max(cursor.seen, newest)
	return err
}

// window: everything between the last poll's start and now, whatever the index knows of it.
func (c *chaosControl) window(ctx context.Context, cursor *chaosCursor) error {
	now := c.client.Now().UnixMilli()
	from, to := cursor.modified("GTE", cursor.seen), cursor.modified("LTE", now)
	for {
		newest, more, err := c.pages(ctx, cursor, from, to)
		if err != nil {
			return err
		}
		if !more {
			break
		}
		from = cursor.modified("GTE", newest)
		if newest == cursor.seen { // more than 10,000 in one millisecond
			break
		}
		cursor.seen = newest
	}
	cursor.seen = now
	return nil
}

// tenThousand: everything since a minute before the last poll, as far as offsets go.
func (c *chaosControl) tenThousand(ctx context.Context, cursor *chaosCursor) error {
	now := c.client.Now()
	_, _, err := c.pages(ctx, cursor, cursor.modified("GTE", cursor.seen))
	if err == nil {
		cursor.seen = now.Add(-c.size.at(time.Minute)).UnixMilli()
	}
	return err
}

// follow polls all object types, and once stop is closed until ten polls in a row brought nothing new.
func (c *chaosControl) follow(ctx context.Context, stop <-chan struct{}) error {
	cursors, err := c.begin(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(c.size.at(12 * time.Second))
	defer tick.Stop()
	for quiet := 0; quiet < 10; {
		before := c.kept
		for _, cursor := range cursors {
			if err := c.poll(c, ctx, cursor); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
		select {
		case <-stop:
			if quiet++; c.kept > before {
				quiet = 0
			}
		default:
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// begin returns the cursors with which a full read leaves the connector.
func (c *chaosControl) begin(ctx context.Context) (cursors []*chaosCursor, err error) {
	began := c.client.Now().UnixMilli()
	for _, name := range chaosObjects {
		object, _ := hubspot.ObjectByName(name)
		properties, err := c.client.Properties(ctx, object)
		if err != nil {
			return nil, err
		}
		cursor := &chaosCursor{object: object, seen: began}
		for _, p := range properties {
			cursor.names = append(cursor.names, p.Name)
		}
		cursors = append(cursors, cursor)
	}
	return cursors, nil
}

// runControls plays a scenario, without storms, before all controls at once: each has an app and a search quota of its own, as
// if it were alone. It returns what each has not, by kind of the record's last change.
func runControls(tb testing.TB, size chaosSize) map[string]*chaosVerdict {
	controls, ledger := chaosControls(), newChaosLedger()
	o := size.portal(ledger)
	o.SearchLimit = 5 * len(controls)
	for i := range controls {
		o.Tokens = append(o.Tokens, fmt.Sprintf("pat-control-%d", i))
	}
	sim, url := startChaosPortal(tb, o)
	portal := newChaosPortal(tb, size, sim, ledger)
	stop, running := make(chan struct{}), sync.WaitGroup{}
	for i, c := range controls {
		cfg := size.client(url)
		cfg.Token, cfg.Timeout = o.Tokens[i], longest // these give up at once, and a busy machine is slow
		var err error
		c.client, err = hubspot.New(cfg)
		must(tb, err)
		c.size, c.rows = size, fullRead(tb, sim)
		running.Go(func() {
			defer c.client.Close()
			if err := c.follow(tb.Context(), stop); err != nil {
				tb.Error(err)
			}
		})
	}
	portal.play(tb.Context(), portal.steps())
	waitFor(size.at(10*time.Minute), func() bool { _, indexed := ledger.end(); return sim.Now().UnixMilli() > indexed })
	close(stop)
	running.Wait()
	verdicts := make(map[string]*chaosVerdict, len(controls))
	for _, c := range controls {
		verdicts[c.name] = judgeCopy(sim, ledger, func(id chaosID) (chaosState, bool) {
			row, ok := c.rows[id]
			return row, ok
		})
	}
	return verdicts
}

// fullRead returns the rows that a full read before the changes leaves.
func fullRead(tb testing.TB, sim *simulator.Simulator) map[chaosID]chaosState {
	rows := map[chaosID]chaosState{}
	for _, object := range chaosObjects {
		for r := range sim.Truth(object) {
			hash, err := chaosHash(schemas.ContentHash(false, "", schemas.MakeProperties(r.Properties)))
			must(tb, err)
			rows[chaosIDOf(object, r.ID)] = chaosState{modified: r.UpdatedAt.UnixMilli(), hash: hash}
		}
	}
	return rows
}

// controlTable prints what the controls have not: lost and wrong, by kind.
func controlTable(verdicts map[string]*chaosVerdict, kinds map[chaosKind]bool) string {
	var b strings.Builder
	order := slices.Sorted(maps.Keys(kinds))
	fmt.Fprintf(&b, "\n%-40s", "lost/wrong of records last changed by")
	for _, kind := range order {
		fmt.Fprintf(&b, " %13s", kind)
	}
	for _, c := range chaosControls() {
		fmt.Fprintf(&b, "\n%-40s", c.name)
		for _, kind := range order {
			t := verdicts[c.name].kinds[kind]
			fmt.Fprintf(&b, " %13s", fmt.Sprintf("%d/%d", t.lost, t.wrong))
		}
	}
	return b.String() + "\n"
}
