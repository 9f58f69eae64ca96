package sink

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/internal/difference"
	"github.com/hubtail/hubtail/schemas"
)

// Rebuild makes the tables again from the log, in a shadow schema, and swaps them in, while sinks and readers go on with the
// live ones. When it returns an error the live tables are as they were; what was begun is begun again by the next rebuild.
// The tables that were live are kept in the copy's schema: see Rollback.
//
// The sink's pool must not be one that running sinks share: while the tables are swapped they wait, each with its connection.
func (s *Sink) Rebuild(ctx context.Context, o RebuildOptions) (*Rebuilt, error) {
	r, err := s.newRebuilding(ctx, o)
	if err != nil {
		return nil, err
	}
	r.fills = true
	return r.run(ctx, "rebuild", []rebuildStep{
		{"preparing", r.prepareShadow}, {"reading", r.fill}, {"indexing", r.finishTables}, {"catching up", r.catchUpRefused}, {"comparing", r.check},
		{"swapping", r.swap}, {"after the swap", r.after},
	})
}

// run takes the steps, unless another rebuild is under way or something would not carry over.
func (r *rebuilding) run(ctx context.Context, what string, steps []rebuildStep) (*Rebuilt, error) {
	began := time.Now()
	release, err := r.alone(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if r.result.Lost, err = r.lost(ctx); err != nil {
		return nil, err
	}
	if len(r.result.Lost) > 0 && !r.o.Force {
		return r.result, fmt.Errorf("%w: %s", ErrNotCarried, strings.Join(r.result.Lost, "; "))
	}
	if r.fills {
		if err := r.noStaticRefused(ctx); err != nil {
			return r.result, err
		}
	}
	if err := finishForeignKeys(ctx, r.pool, r.live, 0, r.log); err != nil {
		return r.result, err
	}
	err = r.runSteps(ctx, steps)
	if errors.Is(err, errRefusedRows) && r.fills && !r.careful {
		r.log.InfoContext(ctx, "what is on the live tables refuses rows: they are made once more, so that these become dead letters", "cause", err)
		r.startOver()
		err = r.runSteps(ctx, steps)
	}
	if err != nil {
		return r.result, fmt.Errorf("%s, %w", what, err)
	}
	r.result.Position, r.result.Seconds = r.position, time.Since(began).Seconds()
	return r.result, nil
}

// rebuildStep is one of the phases that a user sees.
type rebuildStep struct {
	phase string
	run   func(context.Context) error
}

func (r *rebuilding) runSteps(ctx context.Context, steps []rebuildStep) error {
	for _, step := range steps {
		r.begins(ctx, step.phase)
		if err := step.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", step.phase, advise(err))
		}
		if r.s.afterStep != nil {
			r.s.afterStep(step.phase)
		}
	}
	r.ends()
	return NoteCopy(ctx, r.pool, r.live, r.copy, "", 0, 0, 0)
}

// fill applies the last message of every subject, and all runs and dead letters that the log still has, to the shadow.
func (r *rebuilding) fill(ctx context.Context) error {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	head := info.State.LastSeq // what comes later is caught up with
	if err := r.definitions(ctx); err != nil {
		return err
	}
	if err := r.seedErased(ctx); err != nil {
		return err
	}
	if err := r.readRefused(ctx); err != nil {
		return err
	}
	err = r.replay(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: r.filters(), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy}, head)
	if err != nil {
		return err
	}
	if r.whole() {
		portal := "*"
		if r.portal != "" {
			portal = schemas.EncodeToken(r.portal)
		}
		root := schemas.Root + "." + portal + "."
		err = r.replay(ctx, jetstream.OrderedConsumerConfig{FilterSubjects: []string{
			root + string(schemas.KindRun) + ".>", root + string(schemas.KindDeadLetter) + ".>",
		}, DeliverPolicy: jetstream.DeliverAllPolicy}, head)
		if err != nil {
			return err
		}
	}
	if err := r.moveTo(ctx, head); err != nil {
		return err
	}
	if err := r.keepEarlier(ctx, r.live); err != nil {
		return err
	}
	return r.dateTombstones(ctx)
}

// definitions applies the newest property definitions of all tables, so that the records find their columns.
func (r *rebuilding) definitions(ctx context.Context) error {
	if r.whole() {
		return r.other.definitionsFirst(ctx, r.a, r.stream)
	}
	for _, object := range r.objects {
		m, err := r.stream.GetLastMsgForSubject(ctx, schemas.ControlSubject(schemas.KindProperties, r.portal, object))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read property definitions of %s: %w", object, err)
		}
		message := Message{Message: schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data}, Seq: m.Sequence}
		if err := r.a.Apply(ctx, []Message{message}, 0); err != nil {
			return err
		}
	}
	return nil
}

// replay applies what a reader of the log yields to the copy, and shows how far it is.
func (r *rebuilding) replay(ctx context.Context, cfg jetstream.OrderedConsumerConfig, until uint64) error {
	watching, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	before, begun := r.a.counts.messages.Load(), false
	err := r.other.replay(ctx, r.a, cfg, until, func(total int64) {
		begun = true
		go func() {
			defer close(done)
			r.watch(watching, total, before)
		}()
	})
	if stop(); begun {
		<-done
	}
	r.result.Messages += r.a.counts.messages.Load() - before
	return err
}

// watch shows how far the messages of a phase are, until ctx ends.
func (r *rebuilding) watch(ctx context.Context, total, before int64) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		done := min(r.a.counts.messages.Load()-before, total)
		r.progress.Done, r.progress.Total = done, total
		r.shows()
		if n%10 == 0 && ctx.Err() == nil {
			// For `status`; what it shows is no matter of success.
			_ = NoteCopy(ctx, r.pool, r.live, r.copy, r.progress.Phase, done, total, 0)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (r *rebuilding) moveTo(ctx context.Context, seq uint64) error {
	if seq == 0 {
		return nil
	}
	if err := r.a.movePosition(ctx, seq, seq); err != nil {
		return err
	}
	r.position = seq
	return nil
}

// catchUp applies to the copy what came into the log since.
func (r *rebuilding) catchUp(ctx context.Context) error {
	info, err := r.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	last := info.State.LastSeq
	if r.foreign || last <= r.position {
		return nil
	}
	err = r.replay(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: r.filters(), DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: r.position + 1,
	}, last)
	if err != nil {
		return err
	}
	if err := r.other.refill(ctx, r.a); err != nil {
		return err
	}
	return r.moveTo(ctx, last)
}

// finishTables gives the filled tables what the live ones have: indexes, constraints, settings, comments, the values of the
// owner's columns; and statistics, without which the first readers would get bad plans.
func (r *rebuilding) finishTables(ctx context.Context) error {
	if err := r.dress(ctx); err != nil {
		return err
	}
	pairs, err := r.pairs(ctx, r.pool)
	if err != nil {
		return err
	}
	for _, p := range pairs {
		if _, err := r.pool.Exec(ctx, `analyze `+p.otherTable()); err != nil && classify(err) != faultSchema {
			return fmt.Errorf("analyze %s: %w", p.otherTable(), err)
		}
	}
	return nil
}

// dress gives the copy's tables what the live ones have.
func (r *rebuilding) dress(ctx context.Context) error { return r.dressAs(ctx, false) }

// dressEmpty gives it to empty tables, but for what refuses rows by the owner's columns, which get their values afterwards, and
// what is not valid, which refuses rows that are there.
func (r *rebuilding) dressEmpty(ctx context.Context) error { return r.dressAs(ctx, true) }

func (r *rebuilding) dressAs(ctx context.Context, empty bool) error {
	if err := r.fitHeld(ctx); err != nil {
		return err
	}
	// Postgres rule: an expression that is read back may not be the text it was made of, so that columns never look the same.
	r.fitted = make(map[string]bool)
	return pgx.BeginFunc(ctx, r.pool, func(tx pgx.Tx) error {
		if err := execAll(ctx, tx, `select set_config('statement_timeout', '0', true)`); err != nil {
			return err
		}
		pairs, err := r.pairs(ctx, tx)
		if err != nil {
			return err
		}
		for i, p := range pairs {
			fit, err := fitOwnSQL(ctx, tx, p)
			if err == nil {
				r.fitted[fit], err = true, execAll(ctx, tx, fit)
			}
			if err != nil {
				return fmt.Errorf("carry the owner's columns of %s over: %w", p.liveTable(), err)
			}
			values, err := copyOwnSQL(ctx, tx, p)
			if err == nil {
				err = execAll(ctx, tx, values)
			}
			if err != nil {
				return fmt.Errorf("carry the owner's values of %s over: %w", p.liveTable(), err)
			}
			if empty {
				own, err := ownColumns(ctx, tx, p.live, p.object, p.name)
				if err != nil {
					return err
				}
				pairs[i].later = []string{}
				for _, c := range own {
					pairs[i].later = append(pairs[i].later, c.name)
				}
			}
		}
		c, err := planCarry(ctx, tx, pairs)
		if err != nil {
			return err
		}
		for _, sql := range c.before {
			if err := execAll(ctx, tx, sql); err != nil {
				if classify(err) == faultData && r.fills && !r.careful {
					err = errors.Join(errRefusedRows, err)
				}
				return fmt.Errorf("carry over: %s: %w", sql, err)
			}
		}
		return nil
	})
}

// ErrNotAsLog says that the shadow tables are not what the log says.
var ErrNotAsLog = errors.New("the shadow tables differ from the log")

// check compares the shadow with the log, all values of all rows, and with the live tables. A difference from the log is a
// failure, one from the live tables is told.
func (r *rebuilding) check(ctx context.Context) error {
	stream, err := r.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("look at the log: %w", err)
	}
	for _, object := range r.objects {
		v := &tableVerifier{a: r.a, s: r.other, o: VerifyOptions{Patience: 2 * time.Second}, stream: r.stream, whole: keepsAll(stream.Config),
			report: &difference.Report{Object: object, Hop: difference.LogToTables, StartedAt: time.Now()}}
		if t, err := readTable(ctx, r.pool, r.copy, object); err != nil {
			return err
		} else if t == nil {
			continue
		}
		if err := v.verifyRows(ctx, object); err != nil {
			return fmt.Errorf("compare %s with the log: %w", object, err)
		}
		if err := r.countRows(ctx, object); err != nil {
			return err
		}
		if r.whole() {
			if err := v.verifyLinks(ctx, object); err != nil {
				return fmt.Errorf("compare links of %s with the log: %w", object, err)
			}
		}
		r.result.Reports = append(r.result.Reports, v.report)
		if found := v.report.Differences(); found > 0 {
			return fmt.Errorf("%w: %d of %s, such as %s: %s; nothing was swapped", ErrNotAsLog, found, object,
				v.report.Examples[0].ID, v.report.Examples[0].Reason)
		}
	}
	if err := r.compareLive(ctx); err != nil {
		return err
	}
	if err := r.checkRefused(ctx); err != nil {
		return err
	}
	if err := r.checkForeign(ctx); err != nil {
		return err
	}
	return r.checkForgotten(ctx)
}

// after does what may take time: foreign keys are checked, and the dead letters go of what the source has read since.
func (r *rebuilding) after(ctx context.Context) error {
	broken, err := validateForeignKeys(ctx, r.pool, r.live, 0)
	switch {
	case err != nil:
		return fmt.Errorf("the tables are swapped in, but foreign keys are still to be checked, which the next rebuild or start of a sink does: %w", err)
	case len(broken) > 0 && !r.o.Force:
		return fmt.Errorf("the tables are swapped in, but rows refer to records that are not there: not valid is %s", joinShort(broken))
	}
	for _, key := range broken {
		r.result.Lost = append(r.result.Lost, key+": it stays not valid, since rows refer to records that are not there")
	}
	return r.dropRead(ctx)
}
