// Command worker does something for every change of a company, such as telling another system: it tries again when that
// fails, later and later, and gives up visibly. Several of them share the work.
//
//	NATS_URL=nats://127.0.0.1:4222 go run ./examples/go/worker http://127.0.0.1:9000/companies
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// maxTries is how often an event is tried: over about a quarter of an hour, with the waits below.
const maxTries = 8

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: worker URL")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, url string) error {
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	consumer, err := js.CreateOrUpdateConsumer(ctx, "HUBSPOT", jetstream.ConsumerConfig{
		Durable:       "worker-example",
		FilterSubject: "hubspot.*.companies.*",
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       30 * time.Second, // a worker that died: its messages go to another one
		MaxDeliver:    maxTries + 1,
		MaxAckPending: 16, // at work at a time, over all workers
	})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) { work(ctx, url, m) }, jetstream.PullMaxMessages(16))
	if err != nil {
		return err
	}
	defer consuming.Stop()
	fmt.Println("waiting for changes")
	<-ctx.Done()
	return nil
}

// work delivers one event and says how that went. A change can come twice, and an older one after a newer one when tries
// overlap: the receiver keeps the greatest Stream-Sequence it has seen of a company, and drops what is not above it.
func work(ctx context.Context, url string, m jetstream.Msg) {
	meta, err := m.Metadata()
	if err != nil {
		return
	}
	if err = send(ctx, url, m, meta.Sequence.Stream); err == nil {
		_ = m.Ack()
		return
	}
	if meta.NumDelivered >= maxTries {
		log.Printf("given up after %d tries: %s, sequence %d: %v", meta.NumDelivered, m.Subject(), meta.Sequence.Stream, err)
		_ = m.Term()
		return
	}
	_ = m.NakWithDelay(time.Second << meta.NumDelivered)
}

func send(ctx context.Context, url string, m jetstream.Msg, seq uint64) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(m.Data()))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Idempotency-Key", m.Headers().Get("ce-id"))
	request.Header.Set("Stream-Sequence", fmt.Sprint(seq))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, 1<<20))
	if response.StatusCode/100 != 2 {
		return fmt.Errorf("%s", response.Status)
	}
	return nil
}
