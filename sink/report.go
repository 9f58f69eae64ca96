package sink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

// Report is what a running sink answers to whoever asks how it is: see ReadReports.
type Report struct {
	Instance string    `json:"instance"` // host and process
	Schema   string    `json:"schema"`
	Consumer string    `json:"consumer"`
	Started  time.Time `json:"started"`
	Stats    Stats     `json:"stats"`
}

const (
	// reportPatience is how long a first answer may take, reportLinger how long another one after it.
	reportPatience = time.Second
	reportLinger   = 200 * time.Millisecond
)

// reportSubject is where the sinks of a stream are asked. It is no subject of the stream: questions and answers are not kept.
func reportSubject(stream string) string { return "hubtail.sinks." + stream }

// answerReports answers until stop is called. A user of NATS who may not listen there is not seen by status, and works.
func (s *Sink) answerReports(ctx context.Context) (stop func()) {
	instance, started := instanceName(), time.Now().UTC()
	sub, err := s.cfg.JetStream.Conn().Subscribe(reportSubject(s.cfg.Stream), func(m *nats.Msg) {
		answer, _ := json.Marshal(Report{ // plain fields always marshal
			Instance: instance, Schema: s.cfg.Schema, Consumer: s.cfg.Consumer, Started: started, Stats: s.Stats(),
		})
		_ = m.Respond(answer) // whoever asked is gone then
	})
	if err != nil {
		s.cfg.Logger.DebugContext(ctx, "status does not see this sink", "error", err)
		return func() {}
	}
	return func() { _ = sub.Unsubscribe() } // a connection that is gone has no subscriptions
}

func instanceName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d", host, os.Getpid())
}

// ReadReports asks all running sinks of a stream how they are. One that is cut off from NATS does not answer.
func ReadReports(ctx context.Context, nc *nats.Conn, stream string) ([]Report, error) {
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return nil, fmt.Errorf("ask the sinks: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // a connection that is gone has no subscriptions
	if err := nc.PublishRequest(reportSubject(stream), inbox, nil); err != nil {
		return nil, fmt.Errorf("ask the sinks: %w", err)
	}
	var reports []Report
	for patience := reportPatience; ; patience = reportLinger {
		waiting, cancel := context.WithTimeout(ctx, patience)
		m, err := sub.NextMsgWithContext(waiting)
		cancel()
		if errors.Is(err, nats.ErrNoResponders) || errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			return reports, nil
		}
		if err != nil {
			return reports, fmt.Errorf("ask the sinks: %w", err)
		}
		if len(m.Data) == 0 && m.Header.Get("Status") == "503" {
			return reports, nil // nobody listens
		}
		var r Report
		if err := json.Unmarshal(m.Data, &r); err != nil {
			return reports, fmt.Errorf("read a sink's answer: %w", err)
		}
		reports = append(reports, r)
	}
}
