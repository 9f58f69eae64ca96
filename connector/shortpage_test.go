package connector

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// HubSpot rule: rows that changed just now may be missing from an answer. Its total says so: the page is asked for again, and
// no watermark claims what was left out.
func TestARowThatSearchLeavesOutIsNotClaimed(t *testing.T) {
	t.Parallel()
	for flicker, rounds := range map[float64]int{1: 20, 0.5: 20, 0.1: 30, 0.02: 60} {
		t.Run(fmt.Sprint(flicker), func(t *testing.T) {
			t.Parallel()
			b := setupSource(t, simulator.Options{
				Calls: 100, IndexLag: simulator.Lag{Off: true, Flicker: flicker, TailMax: 20 * time.Second},
			}, Config{Objects: []string{"calls"}, Settle: 10 * time.Second})
			b.sync()
			ids, err := b.sim.CreateMany("calls", 40)
			must(t, err)
			var began, done []time.Time
			for i := range rounds { // each of them changes again and again, so that some are missing from every answer
				began = append(began, b.sim.Now())
				for _, id := range ids {
					must(t, b.sim.Update("calls", id, map[string]string{"hs_call_title": strconv.Itoa(i)}))
				}
				done = append(done, b.sim.Now())
				b.poll("calls")
				b.sim.Advance(12 * time.Second)
				through, states := b.follower("calls").log.Cursor().CompleteThrough, b.states("calls")
				for round, end := range done {
					if !through.After(end) {
						break
					}
					for _, id := range ids {
						if e := states[id]; e == nil || e.UpdatedAt.Before(began[round].Truncate(time.Millisecond)) {
							t.Fatalf("round %d: the watermark is past round %d, of which a change of %s is not in the log", i, round, id)
						}
					}
				}
			}
			end := b.sim.Now()
			for range 20 { // the rows change no more: all of them are shown, and the watermark catches up
				b.sim.Advance(12 * time.Second)
				b.poll("calls")
			}
			if through := b.follower("calls").log.Cursor().CompleteThrough; through.Before(end) {
				t.Errorf("the watermark stays at %s", through)
			}
			b.nothingLost("calls", b.sim.Now())
			b.noDuplicates()
		})
	}
}

// A row that search counts for hours and never shows holds the watermark up for as long as Config.Reach, costs a few requests
// more with every poll, and keeps no other one back.
func TestARowThatSearchNeverShowsDelaysTheWatermarkByTheReach(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{
		Calls: 100, IndexLag: simulator.Lag{Off: true, Flicker: 1, TailMax: 10 * time.Hour},
	}, Config{Objects: []string{"calls"}})
	b.sync()
	b.poll("calls")
	f := b.follower("calls")
	must(t, b.sim.Update("calls", b.sim.IDs("calls", 7, 1, 1)[0], map[string]string{"hs_call_title": "hidden"}))
	hidden, reach := b.sim.Now(), f.source.cfg.Reach
	for b.sim.Now().Before(hidden.Add(2 * reach)) {
		b.sim.Advance(time.Minute)
		requests := b.sim.Stats().Requests
		b.poll("calls")
		if n := b.sim.Stats().Requests - requests; n > 4 {
			t.Fatalf("a poll costs %d requests", n)
		}
		behind := b.sim.Now().Sub(f.log.Cursor().CompleteThrough)
		if through := f.log.Cursor().CompleteThrough; through.After(hidden) && b.sim.Now().Before(hidden.Add(reach)) {
			t.Fatalf("the watermark is past what search counts and does not show, after %s", b.sim.Now().Sub(hidden))
		}
		if behind > reach+8*time.Minute { // the client believes leaps of time only when several answers tell of them
			t.Fatalf("the watermark is %s behind", behind)
		}
	}
	if !f.log.Cursor().CompleteThrough.After(hidden) {
		t.Error("the watermark waits for ever")
	}
}
