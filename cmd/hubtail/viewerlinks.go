package main

import (
	"context"
	"slices"
	"time"
)

// linked returns the object types whose records have links.
func (v *viewer) linked() []string {
	return slices.DeleteFunc(slices.Clone(v.objects), func(object string) bool { return object == "owners" })
}

// watchLinks shows a bar until the links of all records are read and applied.
func (v *viewer) watchLinks(ctx context.Context) error {
	began, requests := time.Now(), v.client.Usage().Requests["associations"]
	err := waitUntil(ctx, redraw, func() bool {
		b, done := v.linksBar()
		v.progress.show([]bar{b}, v.quotaLine(), v.tablesLine())
		return done
	})
	if err != nil {
		return err
	}
	if err := waitApplied(ctx, v.js, v.stream, v.source.Portal(), v.sink); err != nil {
		return err
	}
	b, _ := v.linksBar()
	v.progress.last = time.Time{}
	v.progress.show([]bar{b}, v.quotaLine(), v.tablesLine())
	v.progress.end()
	printf(v.out, "\nand their links in %s with %d requests\n\n", time.Since(began).Round(100*time.Millisecond), v.client.Usage().Requests["associations"]-requests)
	return nil
}

// linksBar is how many records' links are read, and whether all are.
func (v *viewer) linksBar() (b bar, done bool) {
	b, done = bar{object: "links"}, true
	for _, s := range v.source.Status() {
		if !slices.Contains(v.linked(), s.Object) {
			continue
		}
		b.total += s.Total
		if s.Links == nil || s.Links.Sweep == nil {
			done = false
			continue
		}
		b.done += min(s.Links.Sweep.Done, s.Total)
		done = done && !s.Links.Sweep.DoneAt.IsZero()
	}
	if done {
		b.done = b.total
	}
	return b, done
}
