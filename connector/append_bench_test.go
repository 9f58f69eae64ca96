package connector

import (
	"fmt"
	"testing"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// BenchmarkAppend is the append of pages of 200 records of about 2 KB, durable on disk.
func BenchmarkAppend(b *testing.B) {
	const perPage = 200
	wide := func(from, round int) []hubspot.Record {
		all := make([]hubspot.Record, perPage)
		for i := range all {
			values := []string{"round", fmt.Sprint(round)}
			for j := range 45 {
				values = append(values, fmt.Sprintf("property_%02d", j), fmt.Sprintf("value %d of record %d", j, from+i))
			}
			all[i] = record(from+i, at(round), values...)
		}
		return all
	}
	for _, c := range []struct {
		name  string
		round func(n int) (page, round int)
	}{
		{"new", func(n int) (int, int) { return n, 0 }},
		{"changed", func(n int) (int, int) { return 0, n }},
		{"unchanged", func(int) (int, int) { return 0, 0 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			bundle := setupLog(b)
			l := bundle.open("bench")
			n := 0
			for b.Loop() {
				b.StopTimer()
				at, round := c.round(n)
				p := page{Origin: schemas.OriginBackfill, Primary: true, Records: wide(at*perPage, round)}
				n++
				b.StartTimer()
				if _, err := l.Append(b.Context(), p, moveTo(pageTime(n))); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n*perPage)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
