package connector

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/synadia-io/orbit.go/jetstreamext"

	"github.com/hubtail/hubtail/schemas"
)

const (
	// maxBatch is how many messages a batch may have. NATS rule: at most 1,000 (error 10199).
	maxBatch = 1000
	// batchBytes bounds a batch in bytes, so that a page of huge records does not fill the server's buffers.
	batchBytes = 4 << 20
	// publishTimeout bounds one attempt to publish a batch.
	publishTimeout = 5 * time.Second
)

// outcome is what an error of publishBatch says about the batch.
type outcome int

const (
	unknown outcome = iota // no answer: it may be in the log
	refused                // a guard refused it
	busy                   // not stored, but the same batch may pass soon
	failed                 // not stored, and trying again does not help
)

// publishBatch publishes the messages as one atomic batch, a single one plainly, and returns the last one's sequence.
// It goes on when ctx ends, up to the timeout.
func publishBatch(ctx context.Context, js jetstream.JetStream, timeout time.Duration, msgs []*nats.Msg) (uint64, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	if len(msgs) == 1 {
		ack, err := js.PublishMsg(ctx, msgs[0])
		if err != nil {
			return 0, err
		}
		return ack.Sequence, nil
	}
	ack, err := jetstreamext.PublishMsgBatch(ctx, js, msgs)
	if err != nil {
		return 0, err
	}
	return ack.Sequence, nil
}

// outcomeOf reads the error of a publish. NATS rule: 10071 is a guard that does not hold; 10164, on replicated streams,
// another publish on the same subject in flight, which says nothing about who wins.
func outcomeOf(err error) outcome {
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api):
		switch api.ErrorCode {
		case 10071:
			return refused
		case 10164, jetstreamext.JSErrCodeBatchPublishIncomplete, jetstreamext.JSErrCodeAtomicPublishTooManyInflight:
			return busy
		}
		if api.Code == 503 { // no leader, starting, out of resources for now
			return busy
		}
		return failed
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject):
		return failed
	}
	return unknown
}

// guard makes the message pass only while seq is the last sequence of its subject, 0 meaning that it has no message.
func guard(m *nats.Msg, seq uint64) {
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(seq, 10))
}

// newMsg returns a message of the log for the NATS client. (jetstreamext panics on a nil header.)
func newMsg(m schemas.Message) *nats.Msg {
	header := nats.Header(m.Header)
	if header == nil {
		header = nats.Header{}
	}
	return &nats.Msg{Subject: m.Subject, Header: header, Data: m.Data}
}

func encodeControls(controls ...schemas.Control) ([]*nats.Msg, error) {
	msgs := make([]*nats.Msg, 0, len(controls))
	for _, c := range controls {
		m, err := schemas.EncodeControl(c)
		if err != nil {
			return nil, err
		}
		msgs = append(msgs, newMsg(m))
	}
	return msgs, nil
}
