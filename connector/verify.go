package connector

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hubtail/hubtail/connector/hubspot"
	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// VerifyOptions say how HubSpot is compared with the log. The zero value compares and changes nothing.
type VerifyOptions struct {
	Repair bool // append what the log lacks
	// Full compares all values also where that takes two requests per page, because the names of an object type's
	// properties do not fit into one URL. Otherwise modification times have to do there.
	Full  bool
	Links bool // compare associations too
	// Patience is how long a difference that bears no time may take to prove one under way: a restored record, a
	// calculated value, one that is gone. 0 means 10 s; negative means none.
	Patience time.Duration
	// Progress, if set, is called now and then, from several goroutines: total is an estimate.
	Progress func(object string, done, total int64)
}

func (o VerifyOptions) withDefaults() VerifyOptions {
	if o.Patience == 0 {
		o.Patience = 10 * time.Second
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	return o
}

// verifiedAtOnce is how many object types are verified at the same time. The quota is what limits; one type alone cannot
// use it up, for a page must be there before the next can be asked for.
const verifiedAtOnce = 3

// Verify compares the named object types, all of the source's if none is named, with the log, and repairs if it is asked
// to. It needs no lead and takes none: it may run beside the source that leads. The reports come in the order of the
// configuration, together with the errors of the object types that could not be compared.
func (s *Source) Verify(ctx context.Context, o VerifyOptions, objects ...string) ([]*difference.Report, error) {
	chosen, err := s.named(objects)
	if err != nil {
		return nil, err
	}
	o = o.withDefaults()
	reports, errs := make([]*difference.Report, len(chosen)+1), make([]error, len(chosen)+1)
	slots := make(chan struct{}, verifiedAtOnce)
	var g sync.WaitGroup
	for i, f := range chosen {
		g.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			v := newVerifier(f, o)
			if errs[i] = v.readNames(ctx); errs[i] == nil {
				reports[i], errs[i] = v.run(ctx)
			}
		})
	}
	if s.verifiesOwners(objects) {
		g.Go(func() { reports[len(chosen)], errs[len(chosen)] = s.owners.verify(ctx, o) })
	}
	g.Wait()
	reports = slices.DeleteFunc(reports, func(r *difference.Report) bool { return r == nil })
	return reports, errors.Join(errs...)
}

func (s *Source) verifiesOwners(objects []string) bool {
	return s.owners != nil && (len(objects) == 0 || slices.Contains(objects, ownersObject))
}

// ownerRequests is what reading the owners costs, the active and the deactivated ones, up to 100 of each, until two reads
// agree.
const ownerRequests = 4

// readNames reads which properties there are, for a source that does not follow the object type.
func (v *verifier) readNames(ctx context.Context) error {
	if _, err := v.f.log.Reload(ctx); err != nil {
		return err
	}
	properties, err := v.client.Properties(ctx, v.f.object)
	if err != nil {
		return fmt.Errorf("read property definitions of %s: %w", v.f.object.Name, err)
	}
	v.report.APICalls++
	names := make([]string, len(properties))
	for i, p := range properties {
		names[i] = p.Name
	}
	v.f.names.Store(&names)
	v.definitions = &schemas.PropertyDefinitions{
		Portal: v.f.log.portal, Object: v.f.object.Name, ObjectTypeID: v.f.object.TypeID, Properties: properties,
	}
	return nil
}

func (f *follower) verifyClient() *hubspot.Client {
	return f.source.cfg.Client.At(hubspot.PriorityVerify)
}

// verify compares the owners: they are few, so that every read of them is a full one.
func (r *roster) verify(ctx context.Context, o VerifyOptions) (*difference.Report, error) {
	report := &difference.Report{Object: ownersObject, Hop: difference.HubSpotToLog, StartedAt: r.client.Now()}
	cursor, err := r.log.Reload(ctx)
	if err != nil {
		return nil, err
	}
	if cursor.BackfilledAt.IsZero() {
		report.Note = neverRead
		return report, nil
	}
	p := page{Origin: schemas.OriginVerify, Primary: true, APICalls: ownerRequests}
	if p.After, err = r.log.lastSeq(ctx); err != nil {
		return nil, err
	}
	if p.Records, err = r.all(ctx); err != nil {
		return nil, err
	}
	known := make(map[string]bool, len(ownerProperties))
	for _, property := range ownerProperties {
		known[property.Name] = true
	}
	found, explained, err := r.log.compare(ctx, p, known, true)
	if err != nil {
		return nil, err
	}
	report.Compared, report.Explained, report.APICalls = int64(len(p.Records)), explained, p.APICalls
	cutoff := earlier(report.StartedAt, cursor.CompleteThrough)
	var ids []string
	for _, f := range found {
		if !f.at.Before(cutoff) {
			report.Pending++
			continue
		}
		report.Add(f.kind, f.id, f.reason)
		ids = append(ids, f.id)
	}
	if o.Repair && len(ids) > 0 {
		counts, err := r.log.amend(ctx, p.only(ids))
		if err != nil {
			return report, err
		}
		report.Repaired = report.Differences() - counts.Failed
	}
	report.CompletedAt = r.client.Now()
	return report, nil
}

// neverRead is the note of an object type that the log does not claim to have.
const neverRead = "never read whole: run `hubtail backfill`, or let a source finish its first full read"
