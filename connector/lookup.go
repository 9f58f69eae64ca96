package connector

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/hubtail/hubtail/schemas"
)

const (
	// lookupSize is how many subjects one lookup asks for. NATS rule: at most 1,024; fewer keep the answers within a
	// client's buffers.
	lookupSize = 256
	// lookupTimeout bounds one attempt to read from the log.
	lookupTimeout = 5 * time.Second
	// warnEvery is the time between two warnings that the log does not answer.
	warnEvery = 30 * time.Second
)

// lookup sets the last event of every entry. It may be answered by a replica that lags: the guards notice. The leader
// never lags, but answers one subject at a time.
func (l *objectLog) lookup(ctx context.Context, entries []*entry, leader bool) error {
	for chunk := range slices.Chunk(entries, lookupSize) {
		read := l.lastOf
		if leader {
			read = l.leaderLastOf
		}
		if err := l.persist(ctx, "read last events", func(ctx context.Context) error { return read(ctx, chunk) }); err != nil {
			return err
		}
	}
	return nil
}

// lastOf reads the last events in one request.
func (l *objectLog) lastOf(ctx context.Context, entries []*entry) error {
	missing := make(map[string]*entry, len(entries))
	for _, e := range entries {
		e.last = lastEvent{}
		missing[e.subject] = e
	}
	// The answer can end early, at the server's limit in bytes or by a time-out that the client does not report.
	for len(missing) > 0 {
		subjects := make([]string, 0, len(missing))
		for s := range missing {
			subjects = append(subjects, s)
		}
		answers, err := jetstreamext.GetLastMsgsFor(ctx, l.js, l.stream, subjects)
		if err != nil {
			return err
		}
		pending := -1 // how many answers were still to come after the last one
		for m, err := range answers {
			if errors.Is(err, jetstreamext.ErrNoMessages) {
				return nil
			}
			if err != nil {
				return err
			}
			if e := missing[m.Subject]; e != nil {
				e.last = newLastEvent(m.Sequence, schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
				delete(missing, m.Subject)
			}
			if pending, err = strconv.Atoi(m.Header.Get("Nats-Num-Pending")); err != nil {
				return fmt.Errorf("answer without Nats-Num-Pending: %w", err)
			}
		}
		switch {
		case pending == 0:
			return nil
		case pending < 0:
			return nats.ErrTimeout
		}
	}
	return nil
}

// leaderLastOf reads the last events one by one from the stream's leader.
func (l *objectLog) leaderLastOf(ctx context.Context, entries []*entry) error {
	for _, e := range entries {
		m, err := leaderLast(ctx, l.js, l.stream, e.subject)
		if err != nil {
			return err
		}
		e.last = lastEvent{}
		if m != nil {
			e.last = newLastEvent(m.Sequence, schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
		}
	}
	return nil
}

func newLastEvent(seq uint64, m schemas.Message) lastEvent {
	t, _ := time.Parse(time.RFC3339, nats.Header(m.Header).Get(schemas.HeaderTime)) // zero for a dead letter
	return lastEvent{seq: seq, msg: m, time: t}
}

// lastSeq returns the last sequence of the stream: whatever is read from HubSpot afterwards is newer than the events up to it.
func (l *objectLog) lastSeq(ctx context.Context) (seq uint64, err error) {
	err = l.persist(ctx, "look up the end of the log", func(ctx context.Context) error {
		stream, err := l.js.Stream(ctx, l.stream)
		if err == nil {
			seq = stream.CachedInfo().State.LastSeq
		}
		return err
	})
	return seq, err
}

// storedCursor is a cursor as the log has it.
type storedCursor struct {
	cursor schemas.Cursor
	seq    uint64
	data   []byte
}

// leaderCursor reads the cursor from the stream's leader; while NATS is away it waits.
func (l *objectLog) leaderCursor(ctx context.Context) (storedCursor, error) {
	m, err := l.leaderMessage(ctx, schemas.ControlSubject(schemas.KindCursor, l.portal, l.object.Name))
	if err != nil || m == nil {
		return storedCursor{}, err
	}
	c, err := schemas.DecodeControl(schemas.Message{Subject: m.Subject, Header: m.Header, Data: m.Data})
	if err != nil {
		return storedCursor{}, fmt.Errorf("read cursor: %w (purge subject %s and everything is read again)", err, m.Subject)
	}
	return storedCursor{cursor: *c.(*schemas.Cursor), seq: m.Sequence, data: m.Data}, nil
}

// leaderMessage reads the last message of a subject from the stream's leader, nil if it has none; while NATS is away it
// waits.
func (l *objectLog) leaderMessage(ctx context.Context, subject string) (m *jetstream.RawStreamMsg, err error) {
	err = l.persist(ctx, "read "+subject, func(ctx context.Context) error {
		m, err = leaderLast(ctx, l.js, l.stream, subject)
		return err
	})
	return m, err
}

// leaderLast reads the last message of a subject from the stream's leader, nil if it has none. (The client's own
// GetLastMsgForSubject asks any replica when the stream allows direct gets.)
func leaderLast(ctx context.Context, js jetstream.JetStream, stream, subject string) (*jetstream.RawStreamMsg, error) {
	return leaderGet(ctx, js, stream, map[string]any{"last_by_subj": subject})
}

// leaderGet reads the message that the request names from the stream's leader, nil if there is none.
func leaderGet(ctx context.Context, js jetstream.JetStream, stream string, request map[string]any) (*jetstream.RawStreamMsg, error) {
	req, err := json.Marshal(request)
	if err != nil {
		return nil, err
	}
	reply, err := js.Conn().RequestWithContext(ctx, apiPrefix(js)+"STREAM.MSG.GET."+stream, req)
	if err != nil {
		return nil, err
	}
	var resp struct {
		Error   *jetstream.APIError `json:"error"`
		Message *struct {
			Subject  string    `json:"subject"`
			Sequence uint64    `json:"seq"`
			Header   []byte    `json:"hdrs"`
			Data     []byte    `json:"data"`
			Time     time.Time `json:"time"`
		} `json:"message"`
	}
	if err := json.Unmarshal(reply.Data, &resp); err != nil {
		return nil, permanent{err}
	}
	switch {
	case resp.Error != nil && resp.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound:
		return nil, nil
	case resp.Error != nil && resp.Error.Code == 503:
		return nil, resp.Error
	case resp.Error != nil:
		return nil, permanent{resp.Error}
	case resp.Message == nil:
		return nil, permanent{errors.New("answer without a message")}
	}
	m := &jetstream.RawStreamMsg{Subject: resp.Message.Subject, Sequence: resp.Message.Sequence, Data: resp.Message.Data, Time: resp.Message.Time}
	if len(resp.Message.Header) > 0 {
		if m.Header, err = nats.DecodeHeadersMsg(resp.Message.Header); err != nil {
			return nil, permanent{err}
		}
	}
	return m, nil
}

func apiPrefix(js jetstream.JetStream) string {
	switch o := js.Options(); {
	case o.APIPrefix != "":
		if o.APIPrefix[len(o.APIPrefix)-1] == '.' {
			return o.APIPrefix
		}
		return o.APIPrefix + "."
	case o.Domain != "":
		return "$JS." + o.Domain + ".API."
	}
	return "$JS.API."
}

// permanent marks an error that waiting does not heal.
type permanent struct{ error }

func (p permanent) Unwrap() error { return p.error }

// persist repeats a read of the log until it is answered, gets a permanent error, or ctx ends.
func (l *objectLog) persist(ctx context.Context, what string, read func(context.Context) error) error {
	var warned time.Time
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		err := func() error {
			ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
			defer cancel()
			return read(ctx)
		}()
		var perm permanent
		switch {
		case err == nil && !warned.IsZero():
			l.logger.Info("log answers again", "doing", what)
			return nil
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &perm), errors.Is(err, nats.ErrConnectionClosed):
			return fmt.Errorf("%s: %w", what, err)
		}
		if time.Since(warned) >= warnEvery {
			l.logger.Warn("log does not answer, trying on", "doing", what, "err", err)
			warned = time.Now()
		}
		if err := pause(ctx, wait/2, wait); err != nil {
			return err
		}
	}
}
