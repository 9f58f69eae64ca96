package connector

import (
	"context"
	"slices"
	"strconv"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// linksPerRead is how many records' links one request reads: of few links each, that is far below HubSpot's limits.
const linksPerRead = 500

// compareLinks compares the sets of links from all live records, to every object type whose links the log claims to have.
// It costs a request per 500 records and pair.
func (v *verifier) compareLinks(ctx context.Context) error {
	cursor, err := v.f.log.Peek(ctx)
	if err != nil || !v.o.Links || cursor.Links == nil {
		return err
	}
	ids := make([]string, 0, v.index.live())
	for i := range v.index {
		if e := &v.index[i]; !e.is(loggedEnded) && e.is(loggedSeen) {
			ids = append(ids, strconv.FormatInt(e.id, 10))
		}
	}
	for _, name := range cursor.Links.To {
		i := slices.IndexFunc(v.f.source.followers, func(f *follower) bool { return f.object.Name == name })
		if i < 0 {
			continue // the log has them from another configuration
		}
		if err := v.comparePair(ctx, v.f.source.followers[i].object, ids); err != nil {
			return err
		}
	}
	return nil
}

// comparePair compares the links to one object type. A link bears no time: what differs has to outlast the patience.
func (v *verifier) comparePair(ctx context.Context, to hubspot.Object, ids []string) error {
	var doubtful []string
	for chunk := range slices.Chunk(ids, linksPerRead) {
		changed, err := v.readLinks(ctx, to, chunk)
		if err != nil {
			return err
		}
		for _, e := range changed {
			doubtful = append(doubtful, e.id())
		}
	}
	if len(doubtful) == 0 {
		return nil
	}
	if v.o.Patience > 0 {
		if err := pause(ctx, v.o.Patience, v.o.Patience); err != nil {
			return err
		}
	}
	for chunk := range slices.Chunk(doubtful, linksPerRead) {
		changed, err := v.readLinks(ctx, to, chunk)
		if err != nil {
			return err
		}
		repair := page{Origin: schemas.OriginVerify, Primary: true}
		for _, e := range changed {
			v.report.Add(difference.Link, e.id()+" to "+to.Name, "other links than in the log")
			repair.Links = append(repair.Links, e.links)
		}
		if !v.o.Repair || len(repair.Links) == 0 {
			continue
		}
		if _, err := v.put(ctx, repair); err != nil {
			return err
		}
		v.report.Repaired += int64(len(repair.Links))
	}
	return nil
}

// readLinks reads the links of records and returns the sets that differ from the log.
func (v *verifier) readLinks(ctx context.Context, to hubspot.Object, ids []string) ([]*entry, error) {
	sets, err := v.client.Associations(ctx, v.f.object, to, ids)
	if err != nil {
		return nil, err
	}
	v.report.APICalls++
	p := page{Origin: schemas.OriginVerify, Primary: true}
	for _, id := range ids {
		p.Links = append(p.Links, &schemas.Links{Portal: v.f.log.portal, From: v.f.object.Name, ID: id, To: to.Name, Links: sets[id]})
	}
	d := v.f.log.newDraft(p)
	if err := v.f.log.lookup(ctx, d.entries, false); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(d.entries, func(e *entry) bool {
		if e.links == nil { // too large for a message: a dead letter
			v.report.Explained++
			return true
		}
		e.judge(reading{primary: true})
		return e.verdict != changed
	}), nil
}
