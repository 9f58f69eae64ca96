package connector

import (
	"context"
	"fmt"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/schemas"
)

// hydrate reads the records with the given ids from HubSpot's primary store and appends what has become of them: their
// present state, the recycle bin's, the winner they were merged into, or, if HubSpot knows nothing of an id any more, that
// it is gone. It costs one request per 100 ids, and another one per 100 that are not live.
func (f *follower) hydrate(ctx context.Context, client *hubspot.Client, origin schemas.Origin, ids []string) (schemas.Counts, error) {
	p, err := f.present(ctx, client, origin, ids)
	if err != nil {
		return schemas.Counts{}, err
	}
	return f.log.Append(ctx, p, nil)
}

// present reads what hydrate appends.
func (f *follower) present(ctx context.Context, client *hubspot.Client, origin schemas.Origin, ids []string) (page, error) {
	p := page{Origin: origin, Primary: true, After: f.log.Position(), Asked: f.properties()}
	request := hubspot.BatchReadRequest{Object: f.object, IDs: ids, Properties: p.Asked}
	live, err := client.BatchRead(ctx, request)
	if err != nil {
		return page{}, err
	}
	p.Records, p.Rejected, p.APICalls = live.Records, live.Rejected, requestsFor(len(ids))
	at := f.client.Now()
	for loser, winner := range live.Merged {
		p.Endings = append(p.Endings, ending{ID: loser, Op: schemas.OpMerged, MergedInto: winner, At: at})
	}
	if len(live.Missing) > 0 {
		request.IDs, request.Archived = live.Missing, true
		archived, err := client.BatchRead(ctx, request)
		if err != nil {
			return page{}, fmt.Errorf("look into the recycle bin: %w", err)
		}
		p.Records = append(p.Records, archived.Records...)
		p.Rejected = append(p.Rejected, archived.Rejected...)
		p.APICalls += requestsFor(len(live.Missing))
		for _, id := range archived.Missing {
			p.Endings = append(p.Endings, ending{ID: id, Op: schemas.OpArchived, At: at})
		}
	}
	return p, nil
}

// requestsFor returns how many requests a batch read of n records costs. HubSpot rule: at most 100 ids each.
func requestsFor(n int) int64 { return int64((n + 99) / 100) }
