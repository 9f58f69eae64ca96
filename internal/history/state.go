package history

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/hubtail/hubtail/schemas"
)

// State is the log as it was at a moment: which message was the last one of each subject. Three walks make it:
//
//	           first message kept               the moment                        the end
//	1, bodies                                        ├──────────────────────────────▶  what has changed since, and how far
//	                                                                                   back its history goes
//	2, headers ├─────────────────────────────────────▶                                 which message was the newest of its subject
//	3, bodies  ├─────────────────────────────────────▶                                 those, one of each subject (Each)
//
// It takes about 40 bytes of memory for each subject.
type State struct {
	log     *Log
	at      Moment
	objects []string // that it is about; none means all
	part    []string // filters of that
	// definitions are the subjects of property definitions, which may have wildcards.
	definitions []string
	seeds       [2]maphash.Seed
	newest      map[[2]uint64]uint64 // sequence at the moment by subject, as a hash of 128 bits
	later       map[string]*later    // what has messages after it
	purged      []Entry              // events of privacy deletions since: those hold at all times
	after       []Entry              // of definitions and pipelines whose versions of then are gone, the nearest later ones
	gaps        []Gap
	begins      Entry                  // the first that came after the moment, without its body
	firstReads  map[string]*firstReads // by object type
}

// At reads which state the log was in, as far as object types go, all if none is named. Where it no longer keeps the version
// of a record, or a set of links, may have forgotten whole records, or did not have them yet though HubSpot had, it returns the
// state without them and a NotCoveredError.
func (l *Log) At(ctx context.Context, at Moment, objects ...string) (*State, error) {
	s := &State{log: l, at: at, objects: objects, newest: map[[2]uint64]uint64{}, later: map[string]*later{}, firstReads: map[string]*firstReads{}, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
	s.part, s.definitions = l.about(objects)
	nearest := map[string]Entry{}
	if err := l.Walk(ctx, Range{From: at.Seq + 1, Subjects: s.part}, func(e Entry) error { return s.takeLater(e, nearest) }); err != nil {
		return nil, err
	}
	err := s.walk(ctx, true, func(e Entry) error {
		key := s.key(e.Subject)
		if _, known := s.newest[key]; !known {
			s.noteStored(e.Subject)
		}
		s.newest[key] = e.Seq
		return nil
	})
	if err != nil {
		return nil, err
	}
	unloaded, err := s.unloaded(ctx)
	if err != nil {
		return nil, err
	}
	reached, err := s.cover(nearest)
	err = s.notBegun(err, reached, unloaded)
	if at.Seq == 0 {
		return s, err
	}
	// What was forgotten before the moment is missing at every later one, too: there is none from which on all is kept.
	forgotten, _, infoErr := l.forgotten(ctx)
	if infoErr != nil {
		return nil, infoErr
	}
	return s, notCovered(err, at, l.Depth, forgotten, 0, time.Time{})
}

// walk hands out the messages up to the moment.
func (s *State) walk(ctx context.Context, headersOnly bool, do func(Entry) error) error {
	if s.at.Seq == 0 {
		return nil
	}
	return s.log.Walk(ctx, Range{To: s.at.Seq, Subjects: s.part, HeadersOnly: headersOnly}, do)
}

func (s *State) key(subject string) [2]uint64 {
	return [2]uint64{maphash.String(s.seeds[0], subject), maphash.String(s.seeds[1], subject)}
}

// takeLater notes what has changed since the moment.
func (s *State) takeLater(e Entry, nearest map[string]Entry) error {
	if s.begins.Seq == 0 {
		s.begins = Entry{Seq: e.Seq, Time: e.Time}
	}
	if f := s.later[e.Subject]; f != nil {
		f.kept++
		if isPurge(e) {
			s.purged = append(s.purged, e)
		}
		return nil
	}
	subject, err := schemas.ParseSubject(e.Subject)
	if err != nil {
		return nil // a kind of message that this version does not know
	}
	f := &later{seq: e.Seq, at: e.Time, kept: 1}
	switch subject.Kind {
	case schemas.KindRecord:
		if isPurge(e) {
			s.purged = append(s.purged, e)
		}
		event, err := schemas.DecodeEvent(e.Message)
		if err != nil {
			return nil // a dead letter: the next one tells
		}
		f.previous, f.created = event.PreviousSeq, event.CreatedAt
		s.noteFirstRead(subject, e, event)
	case schemas.KindProperties, schemas.KindPipelines:
		nearest[e.Subject] = e
	case schemas.KindLinks:
	default:
		return nil // of cursors, runs and dead letters there is what there is
	}
	s.later[e.Subject] = f
	return nil
}

// cover finds what is not covered: what has messages after the moment, none before it, and did exist. It returns from where on
// all is.
func (s *State) cover(nearest map[string]Entry) (*gaps, error) {
	missing := &gaps{}
	for text, f := range s.later {
		if _, kept := s.newest[s.key(text)]; kept {
			continue
		}
		subject, err := schemas.ParseSubject(text)
		if err != nil {
			continue
		}
		// Links, definitions and pipelines do not say whether anything came before them: they may have had more versions
		// only where as many are kept as there can be.
		full := s.log.Depth > 0 && f.kept >= s.log.Depth
		switch subject.Kind {
		case schemas.KindRecord:
			if f.previous > 0 {
				missing.reach(f)
			}
			if !f.createdAfter(s.at) {
				missing.add(subject, f)
			}
		case schemas.KindLinks:
			if full {
				missing.reach(f)
			}
			if full && s.at.Seq > 0 {
				missing.add(subject, f)
			}
		default:
			if full && s.at.Seq > 0 {
				s.after = append(s.after, nearest[text])
			}
		}
	}
	err := missing.err(s.at, s.log.Depth)
	s.gaps = missing.list
	s.later = nil
	return missing, err
}

// Gaps returns what the state lacks.
func (s *State) Gaps() []Gap { return s.gaps }

// Subjects returns how many subjects had a message.
func (s *State) Subjects() int { return len(s.newest) }

// Definitions returns the property definitions of the moment, in the order of the log: tables that have them first need no
// change when rows come. Those of the moment that are no longer kept, of pipelines too, are replaced by the nearest later
// ones, whose object types it returns.
func (s *State) Definitions(ctx context.Context) (all []Entry, replaced []string, err error) {
	found, err := s.log.LastAt(ctx, s.definitions, s.at.Seq)
	if err != nil {
		return nil, nil, err
	}
	for _, e := range found {
		all = append(all, e)
	}
	for _, e := range s.after {
		if subject, err := schemas.ParseSubject(e.Subject); err == nil {
			all, replaced = append(all, e), append(replaced, subject.Object)
		}
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Seq, b.Seq) })
	slices.Sort(replaced)
	return all, slices.Compact(replaced), nil
}

// Purged returns the privacy deletions since: what they erased is erased at all times.
func (s *State) Purged() []Entry { return s.purged }

// ErrMovedOn says that the log lost messages while they were read: newer ones took their places.
var ErrMovedOn = errors.New("the log moved on while it was read: try again")

// Each hands out the last message of each subject at the moment, in the order of the log; of runs all messages up to it.
func (s *State) Each(ctx context.Context, do func(Entry) error) error {
	left := len(s.newest)
	err := s.walk(ctx, false, func(e Entry) error {
		newest := s.newest[s.key(e.Subject)] == e.Seq
		if newest {
			left--
		}
		if !newest && !strings.Contains(e.Subject, "."+string(schemas.KindRun)+".") {
			return nil
		}
		return do(e)
	})
	if err == nil && left > 0 {
		return fmt.Errorf("%w (%d messages)", ErrMovedOn, left)
	}
	return err
}

// isPurge reports whether a message is the event of a privacy deletion, without decoding it.
func isPurge(e Entry) bool {
	types := e.Header[schemas.HeaderType]
	return len(types) > 0 && strings.HasSuffix(types[0], "."+string(schemas.OpPurged))
}
