// Command lifecycle reacts to contacts whose lifecycle stage changes.
//
//	NATS_URL=nats://127.0.0.1:4222 go run ./examples/go/lifecycle
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	nc, err := nats.Connect(os.Getenv("NATS_URL"), nats.MaxReconnects(-1))
	if err != nil {
		return err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return err
	}
	// A durable consumer remembers, on the server, what was acknowledged: a restart goes on where it stopped.
	consumer, err := js.CreateOrUpdateConsumer(ctx, "HUBSPOT", jetstream.ConsumerConfig{
		Durable:       "lifecycle-example",
		FilterSubject: "hubspot.*.contacts.*",
		DeliverPolicy: jetstream.DeliverNewPolicy, // when it is made; afterwards its own place counts
		AckPolicy:     jetstream.AckExplicitPolicy,
	})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if err := handle(m); err != nil {
			log.Print(err)
		}
		_ = m.Ack() // if it gets lost the message comes again
	})
	if err != nil {
		return err
	}
	defer consuming.Stop()
	fmt.Println("waiting for changes")
	<-ctx.Done()
	return nil
}

func handle(m jetstream.Msg) error {
	event, err := schemas.DecodeEvent(schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
	if err != nil {
		return err
	}
	// A snapshot is a record seen for the first time by a full read: no news.
	if event.Op == schemas.OpSnapshot || !slices.Contains(event.Changed, "lifecyclestage") {
		return nil
	}
	before, _ := event.Previous.Get("lifecyclestage")
	now, _ := event.Properties.Get("lifecyclestage")
	fmt.Printf("contact %s: lifecycle stage %q -> %q\n", event.ID, before, now)
	return nil
}
