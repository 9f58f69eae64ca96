package connector

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// chaosLinks are all links between records, as "from id to" -> "id/category/type ...".
type chaosLinks map[string]string

// linksOf returns the links that the log has: the last set of each subject.
func (l *chaosLog) linksOf(ctx context.Context) (chaosLinks, error) {
	consumer, err := l.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"hubspot.*._links.>"}, DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return nil, err
	}
	links := chaosLinks{}
	for pending := consumer.CachedInfo().NumPending; pending > 0; {
		batch, err := consumer.Fetch(int(min(pending, 1000)))
		if err != nil {
			return nil, err
		}
		for m := range batch.Messages() {
			pending--
			control, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
			if err != nil {
				return nil, err
			}
			set := control.(*schemas.Links)
			if text := chaosLinksText(set.Links); text != "" {
				links[set.From+" "+set.ID+" "+set.To] = text
			}
		}
		if err := batch.Error(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
	}
	return links, nil
}

func chaosLinksText(links []schemas.Link) string {
	texts := make([]string, len(links))
	for i, l := range links {
		texts[i] = l.ID + "/" + l.Category + "/" + strconv.Itoa(l.TypeID)
	}
	slices.Sort(texts)
	return strings.Join(texts, " ")
}

// trueLinks returns the links that the portal has.
func trueLinks(sim *simulator.Simulator) chaosLinks {
	sets := map[string][]schemas.Link{}
	for _, from := range chaosObjects {
		for _, to := range chaosObjects {
			for l := range sim.TruthLinks(from, to) {
				key := from + " " + l.ID + " " + to
				for _, t := range l.Types {
					sets[key] = append(sets[key], schemas.Link{ID: l.To, Category: t.Category, TypeID: t.TypeID})
				}
			}
		}
	}
	links := chaosLinks{}
	for key, set := range sets {
		links[key] = chaosLinksText(set)
	}
	return links
}

// judgeLinks adds to the verdict what the log's links lack or have too much: a set that is not the portal's is lost.
func (v *chaosVerdict) judgeLinks(has, truth chaosLinks) {
	keys := maps.Clone(truth)
	maps.Copy(keys, has)
	for key := range keys {
		if has[key] != truth[key] {
			v.kinds[chaosLink].lost++
			v.note("lost: the links of %s are %q in the log, %q in the portal", key, has[key], truth[key])
		}
	}
}

// rested judges until nothing differs, or no longer: what no watermark speaks of comes with the next turn of its lane.
func (r *chaosResult) rested(ctx context.Context, sim *simulator.Simulator, patience func() bool) error {
	for {
		v := r.log.judge(sim)
		if r.size.kinds()[chaosLink] {
			links, err := r.log.linksOf(ctx)
			if err != nil {
				return fmt.Errorf("read links: %w", err)
			}
			v.judgeLinks(links, trueLinks(sim))
		}
		r.verdict = v
		if v.failures() == 0 || !patience() {
			return nil
		}
	}
}
