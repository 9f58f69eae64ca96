package connector

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/connector/simulator"
	"github.com/hubtail/hubtail/schemas"
)

// chaosLinks are all links between records, as "from id to" -> "id/category/type ...".
type chaosLinks map[string]string

// linksOf returns the links that the log has: the last set of each subject. NATS rule: an ordered consumer that is fetched
// from twice goes on with every message instead of the last ones, so this is one of the other kind.
func (l *chaosLog) linksOf(ctx context.Context) (chaosLinks, error) {
	consumer, err := l.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: "hubspot.*._links.>", DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, AckPolicy: jetstream.AckNonePolicy,
		MemoryStorage: true, Replicas: 1, InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.stream.DeleteConsumer(ctx, consumer.CachedInfo().Name) }()
	links := chaosLinks{}
	for pending := consumer.CachedInfo().NumPending; pending > 0; {
		batch, err := consumer.FetchNoWait(1000)
		if err != nil {
			return nil, err
		}
		none := true
		for m := range batch.Messages() {
			meta, err := m.Metadata()
			if err != nil {
				return nil, err
			}
			none, pending = false, meta.NumPending
			control, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
			if err != nil {
				return nil, err
			}
			set := control.(*schemas.Links)
			if text := chaosLinksText(set.Links); text != "" {
				links[set.From+" "+set.ID+" "+set.To] = text
			}
		}
		if err := batch.Error(); err != nil {
			return nil, err
		}
		if !none {
			continue
		}
		info, err := consumer.Info(ctx) // a message that was erased before it was sent is never sent
		if err != nil {
			return nil, err
		}
		pending = info.NumPending
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
