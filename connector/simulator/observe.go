package simulator

import "time"

// Change is one change of a record, as Options.Observe is told of it.
type Change struct {
	Object    string
	ID        string
	At        time.Time // HubSpot's clock when it was made
	UpdatedAt time.Time // the record's last-modified time after it
	Bumped    bool      // it moved the last-modified time; calculated values, archiving, merging away and purging do not
	IndexedAt time.Time // when search knows it
	Live      bool      // the record can be read under its id
}

// observed tells Options.Observe that r replaced before (nil for a new record); search knows it at due, epoch ms.
func (p *portal) observed(t *table, r, before *record, now, due int64) {
	if p.opts.Observe == nil {
		return
	}
	p.opts.Observe(Change{
		Object: t.object.Name, ID: formatID(r.id), At: time.UnixMilli(now).UTC(), UpdatedAt: time.UnixMilli(r.modified).UTC(),
		Bumped: before == nil || before.modified != r.modified, IndexedAt: time.UnixMilli(due).UTC(), Live: r.live(),
	})
}
