package connector

import (
	"context"
)

// VerifyPlan says what verifying an object type costs.
type VerifyPlan struct {
	Object   string `json:"object"`
	Records  int64  `json:"records"`  // in the log
	Requests int64  `json:"requests"` // to HubSpot, about: the recycle bin may hold more than the log has records that ended
}

// PlanVerify says what Verify would cost, without a request to HubSpot.
func (s *Source) PlanVerify(ctx context.Context, o VerifyOptions, objects ...string) ([]VerifyPlan, error) {
	chosen, err := s.named(objects)
	if err != nil {
		return nil, err
	}
	var plans []VerifyPlan
	for _, f := range chosen {
		plan, err := f.planVerify(ctx, o)
		if err != nil {
			return nil, err
		}
		plans = append(plans, plan)
	}
	if s.verifiesOwners(objects) {
		index, err := s.owners.log.index(ctx)
		if err != nil {
			return nil, err
		}
		plans = append(plans, VerifyPlan{Object: ownersObject, Records: int64(len(index)), Requests: ownerRequests})
	}
	return plans, nil
}

func (f *follower) planVerify(ctx context.Context, o VerifyOptions) (VerifyPlan, error) {
	plan := VerifyPlan{Object: f.object.Name}
	index, err := f.log.index(ctx)
	if err != nil {
		return plan, err
	}
	cursor, err := f.log.Reload(ctx)
	if err != nil {
		return plan, err
	}
	definitions, err := f.log.definitions(ctx)
	if err != nil {
		return plan, err
	}
	var names []string
	if definitions != nil {
		for _, p := range definitions.Properties {
			names = append(names, p.Name)
		}
	}
	pages := pagesOf(index.live(), maxRead)
	if o.Full && !f.verifyClient().ListFits(f.object, names) {
		pages *= 2
	}
	plan.Records = int64(len(index))
	plan.Requests = 1 + pages + pagesOf(plan.Records-index.live(), maxRead)
	if o.Links && cursor.Links != nil {
		plan.Requests += int64(len(cursor.Links.To)) * pagesOf(index.live(), linksPerRead)
	}
	return plan, nil
}

// pagesOf returns how many pages n records take; the first one says that there are none.
func pagesOf(n, size int64) int64 { return max(1, (n+size-1)/size) }
