package sink_test

import (
	"strconv"
	"testing"

	"github.com/hubtail/hubtail/internal/history"
	"github.com/hubtail/hubtail/migrations"
	"github.com/hubtail/hubtail/schemas"
	"github.com/hubtail/hubtail/sink"
)

// BenchmarkAsOf builds tables as of a moment of a log with four versions of every record, three of them from before the
// moment, and, in the same run, replays all of them into another schema: the ratio is what reading twice and writing once
// saves.
func BenchmarkAsOf(b *testing.B) {
	r := newRig(b)
	r.publish(benchDefinitions(b))
	var then, last uint64
	before := map[string]uint64{}
	for version := range 4 {
		load := benchEvents(uint64(2 + version*benchRows))
		for i, m := range load {
			e, err := schemas.DecodeEvent(m.Message)
			if err != nil {
				b.Fatal(err)
			}
			e.PreviousSeq, e.Hash = before[m.Subject], ""
			e.Properties = schemas.MakeProperties(withVersion(e.Properties.Map(), version))
			before[m.Subject] = uint64(2 + version*benchRows + i)
			load[i].Message = e.Encode()
		}
		for i := 0; i < len(load); i += benchBatch {
			last = r.publishAll(load[i : i+benchBatch])
		}
		if version == 2 {
			then = last
		}
	}
	if err := r.newSink().ApplyThrough(b.Context(), 2); err != nil { // so that the tables know whose they are
		b.Fatal(err)
	}
	b.Run("as of", func(b *testing.B) {
		start := measure(r.bundle)
		for range b.N {
			result, err := r.newSink().BuildAsOf(b.Context(), sink.AsOfOptions{Schema: "past", At: history.Moment{Seq: then}})
			if err != nil || result.Written != benchRows {
				b.Fatal(result, err)
			}
		}
		report(b, benchRows, start, measure(r.bundle), 0)
	})
	b.Run("replay of all", func(b *testing.B) {
		start := measure(r.bundle)
		for range b.N {
			r.exec(`drop schema if exists replayed cascade`)
			if err := migrations.Apply(b.Context(), r.pool, "replayed"); err != nil {
				b.Fatal(err)
			}
			s, err := sink.New(b.Context(), sink.Config{Pool: r.pool, JetStream: r.js, Schema: "replayed", Consumer: "replay"})
			if err != nil {
				b.Fatal(err)
			}
			if err := s.ApplyThrough(b.Context(), then); err != nil {
				b.Fatal(err)
			}
			r.want(strconv.Itoa(benchRows), `select count(*) from replayed.contacts`)
		}
		report(b, benchRows, start, measure(r.bundle), 0)
	})
}

func withVersion(values map[string]string, version int) props {
	values[benchName(4)] = strconv.Itoa(version) // a number
	return values
}
