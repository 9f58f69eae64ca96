// Command mirror starts from the current state of all deals and then follows it: one consumer does both.
//
//	NATS_URL=nats://127.0.0.1:4222 go run ./examples/go/mirror
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"

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
	// An ordered consumer has no state on the server: each start reads the last event of every deal, which is all there is
	// to know of it, and then what comes.
	consumer, err := js.OrderedConsumer(ctx, "HUBSPOT", jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{"hubspot.*.deals.*"},
		DeliverPolicy:  jetstream.DeliverLastPerSubjectPolicy,
	})
	if err != nil {
		return err
	}
	messages, err := consumer.Messages()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, messages.Stop)()
	deals, complete := map[string]schemas.Properties{}, false
	for {
		m, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		event, err := schemas.DecodeEvent(schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
		if err != nil {
			log.Print(err)
			continue
		}
		if event.Archived { // in the recycle bin, merged away or deleted for privacy
			delete(deals, event.ID)
		} else {
			deals[event.ID] = event.Properties
		}
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		switch {
		case complete:
			fmt.Printf("deal %s %s; %d deals\n", event.ID, event.Op, len(deals))
		case meta.NumPending == 0:
			complete = true
			fmt.Printf("the state is complete: %d deals\n", len(deals))
		}
	}
}
