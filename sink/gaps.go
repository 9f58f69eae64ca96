package sink

import (
	"context"
	"errors"
	"fmt"
	"math/bits"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/hubtail/hubtail/internal/jetlog"
	"github.com/hubtail/hubtail/schemas"
)

// A row says by its _seq which message of the log it is from. So what the tables have of a long stretch of the log is one
// look at the tables, and only the rest of it is read: a database that lost nothing but its position, or a row here and
// there, reads next to nothing. (Measured: to read a message off NATS, even without its body, costs ten times as much as
// to see its row.)
const (
	// gapsFrom is how long a stretch of the log is at least for which the tables are looked at.
	gapsFrom = 4_000

	// bytesPerMessage is the size of tables that is worth looking through to save reading one message.
	bytesPerMessage = 4 << 10

	// gapBlock is how many sequences are read in one way: none of them, all, or only those that are not in the tables, if
	// these are less than one of gapShare. One by one, a message costs about three times as much.
	gapBlock = 2_000
	gapShare = 4

	// gapWindow is how many sequences are looked at at a time; each takes a bit.
	gapWindow = 1 << 24

	// maxDeleted is up to how many sequences without a message the server is asked which they are.
	maxDeleted = 200_000

	// getsAtOnce is how many messages are asked for at a time where they are read one by one.
	getsAtOnce = 64
)

// catchUp applies the messages from one sequence to another without the consumer, those that the tables lack.
func (s *Sink) catchUp(ctx context.Context, a *Applier, from, to uint64) error {
	for from <= to && ctx.Err() == nil {
		until := min(to, from+gapWindow-1)
		if pays, err := a.lookPays(ctx, from, until); err != nil {
			return err
		} else if !pays {
			return s.read(ctx, a, from, to)
		}
		had, err := a.sequences(ctx, from, until)
		if err != nil {
			return err
		}
		known := had.count()
		gaps, err := s.gaps(ctx, had)
		if err != nil {
			return err
		}
		s.cfg.Logger.DebugContext(ctx, "reading what the tables lack of the log", "from", from, "to", until, "rows", known, "gaps", len(gaps))
		for _, g := range gaps {
			if err := s.readGap(ctx, a, g); err != nil || ctx.Err() != nil {
				return err
			}
		}
		if err := a.movePosition(ctx, until, until); err != nil {
			return err
		}
		s.stats.committed(0, until, 0)
		a.counts.messages.Add(known)
		a.counts.unchanged.Add(known)
		from = until + 1
	}
	return nil
}

// gaps returns what is neither in the set nor gone from the log.
func (s *Sink) gaps(ctx context.Context, had *sequenceSet) ([]gap, error) {
	stream, err := s.cfg.JetStream.Stream(ctx, s.cfg.Stream)
	if err != nil {
		return nil, fmt.Errorf("look up stream %s: %w", s.cfg.Stream, err)
	}
	state := stream.CachedInfo().State
	if state.NumDeleted > maxDeleted {
		return had.gaps(0), nil
	}
	if state.NumDeleted > 0 {
		info, err := stream.Info(ctx, jetstream.WithDeletedDetails(true))
		if err != nil {
			return nil, fmt.Errorf("ask what is gone from stream %s: %w", s.cfg.Stream, err)
		}
		state = info.State
	}
	for _, seq := range state.Deleted {
		had.add(seq)
	}
	for seq := had.from; seq < min(state.FirstSeq, had.to+1); seq++ {
		had.add(seq)
	}
	return had.gaps(gapBlock / gapShare), nil
}

// read applies the messages from one sequence to another, in order.
func (s *Sink) read(ctx context.Context, a *Applier, from, to uint64) error {
	reader, err := jetlog.Reader(ctx, s.cfg.JetStream, s.cfg.Stream, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{s.cfg.filter()},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:    from,
	})
	if err != nil {
		return fmt.Errorf("read the log from %d: %w", from, err)
	}
	if info, err := reader.Info(ctx); err != nil {
		return fmt.Errorf("read the log from %d: %w", from, err)
	} else if info.NumPending == 0 {
		return nil
	}
	iterator, err := reader.Messages(s.pullOptions()...)
	if err != nil {
		return fmt.Errorf("read the log from %d: %w", from, err)
	}
	c := &collector{cfg: s.cfg, iterator: iterator, stats: &s.stats, until: to, ordered: true}
	return s.pipeline(ctx, a, c)
}

// readGap applies what the tables lack of a stretch of the log.
func (s *Sink) readGap(parent context.Context, a *Applier, g gap) error {
	if g.whole {
		return s.read(parent, a, g.from, g.to)
	}
	stream, err := s.cfg.JetStream.Stream(parent, s.cfg.Stream)
	if err != nil {
		return fmt.Errorf("look up stream %s: %w", s.cfg.Stream, err)
	}
	work, ctx := errgroup.WithContext(parent)
	batches := make(chan []Message)
	work.Go(func() error {
		defer close(batches)
		for lacking := g.lacking; len(lacking) > 0; {
			messages, err := s.getMessages(ctx, stream, lacking)
			if err != nil {
				return err
			}
			lacking = lacking[len(messages):]
			select {
			case batches <- messages:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	applied := 0
	work.Go(func() error {
		for messages := range batches {
			position := g.to
			if applied += len(messages); applied < len(g.lacking) {
				position = g.lacking[applied] - 1
			}
			if err := a.Apply(ctx, messages, position); err != nil {
				return err
			}
		}
		return nil
	})
	if err := work.Wait(); !errors.Is(err, jetstream.ErrMsgNotFound) {
		return err
	}
	// It was removed from the log just now, or a replica that answers does not have it yet. A consumer knows.
	return s.read(parent, a, g.from, g.to)
}

// getMessages reads the first of some messages, a batch of them, one by one.
func (s *Sink) getMessages(ctx context.Context, stream jetstream.Stream, seqs []uint64) (messages []Message, err error) {
	for size := 0; len(messages) < len(seqs) && size < s.cfg.BatchBytes; {
		some := make([]Message, min(getsAtOnce, len(seqs)-len(messages)))
		var g errgroup.Group
		for i, seq := range seqs[len(messages):][:len(some)] {
			g.Go(func() error {
				m, err := stream.GetMsg(ctx, seq)
				if err != nil {
					return fmt.Errorf("read message %d of the log: %w", seq, err)
				}
				some[i] = Message{schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}, seq}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		messages = append(messages, some...)
		for _, m := range some {
			size += len(m.Data)
		}
	}
	return messages, nil
}

// sequencedTables are the tables whose rows are from one message each.
func (a *Applier) sequencedTables(ctx context.Context) ([]string, error) {
	rows, err := a.pool.Query(ctx, `select table_name from `+quote(a.schema, "objects")+` order by object`)
	if err != nil {
		return nil, fmt.Errorf("look for tables: %w", err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for tables: %w", err)
	}
	return append(names, "link_sets"), nil
}

// lookPays reports whether to look through the tables costs less than it may save: they are not empty, and not much larger
// than the stretch of the log.
func (a *Applier) lookPays(ctx context.Context, from, to uint64) (bool, error) {
	if to-from < gapsFrom {
		return false, nil
	}
	tables, err := a.sequencedTables(ctx)
	if err != nil {
		return false, err
	}
	var size int64
	for _, table := range tables {
		var n int64
		if err := a.pool.QueryRow(ctx, `select coalesce(pg_relation_size(to_regclass($1)), 0)`, quote(a.schema, table)).Scan(&n); err != nil {
			return false, fmt.Errorf("look how large %s is: %w", table, err)
		}
		size += n
	}
	return size > 0 && uint64(size)/bytesPerMessage <= to-from, nil
}

// sequences reads which messages of a stretch of the log the tables' rows are from.
func (a *Applier) sequences(ctx context.Context, from, to uint64) (*sequenceSet, error) {
	set := newSequenceSet(from, to)
	tables, err := a.sequencedTables(ctx)
	if err != nil {
		return nil, err
	}
	for _, table := range tables {
		rows, err := a.pool.Query(ctx, `select _seq from `+quote(a.schema, table)+` where _seq between $1 and $2`, int64(from), int64(to))
		if err != nil {
			return nil, fmt.Errorf("read what %s has of the log: %w", table, err)
		}
		for rows.Next() {
			set.add(uint64(decodeInt8(rows.RawValues()[0])))
		}
		if rows.Close(); rows.Err() != nil {
			return nil, fmt.Errorf("read what %s has of the log: %w", table, rows.Err())
		}
	}
	return set, nil
}

// sequenceSet is a set of sequences of a stretch of the log, a bit for each.
type sequenceSet struct {
	from, to uint64
	bits     []uint64
}

func newSequenceSet(from, to uint64) *sequenceSet {
	return &sequenceSet{from, to, make([]uint64, (to-from)/64+1)}
}

func (s *sequenceSet) add(seq uint64) {
	if s.from <= seq && seq <= s.to {
		s.bits[(seq-s.from)/64] |= 1 << ((seq - s.from) % 64)
	}
}

func (s *sequenceSet) has(seq uint64) bool {
	return s.bits[(seq-s.from)/64]&(1<<((seq-s.from)%64)) != 0
}

func (s *sequenceSet) count() (n int64) {
	for _, b := range s.bits {
		n += int64(bits.OnesCount64(b))
	}
	return n
}

// gap is a stretch of the log of which something is not in the tables.
type gap struct {
	from, to uint64
	whole    bool     // so much that all of it is read
	lacking  []uint64 // else what is
}

// gaps returns what is not in the set, ascending. A block that lacks more than some is read whole.
func (s *sequenceSet) gaps(some int) []gap {
	var gaps []gap
	for from := s.from; from <= s.to; from += gapBlock {
		g := gap{from: from, to: min(s.to, from+gapBlock-1)}
		for seq := from; seq <= g.to; seq++ {
			if !s.has(seq) {
				g.lacking = append(g.lacking, seq)
			}
		}
		if len(g.lacking) == 0 {
			continue
		}
		g.whole = len(g.lacking) > some
		if last := len(gaps) - 1; last >= 0 && g.whole == gaps[last].whole && (!g.whole || gaps[last].to+1 == g.from) {
			gaps[last].to = g.to
			if !g.whole {
				gaps[last].lacking = append(gaps[last].lacking, g.lacking...)
			}
			continue
		}
		if g.whole {
			g.from, g.lacking = g.lacking[0], nil
		}
		gaps = append(gaps, g)
	}
	return gaps
}
