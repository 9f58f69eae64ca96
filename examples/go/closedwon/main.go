// Command closedwon tells a Slack channel of every deal that is won.
//
//	NATS_URL=nats://127.0.0.1:4222 SLACK_WEBHOOK_URL=https://hooks.slack.com/... go run ./examples/go/closedwon
package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/hubtail/hubtail/schemas"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Getenv("SLACK_WEBHOOK_URL")); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, slack string) error {
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
		Durable:       "closed-won-example",
		FilterSubject: "hubspot.*.deals.*",
		DeliverPolicy: jetstream.DeliverNewPolicy, // deals won long ago are no news
		AckPolicy:     jetstream.AckExplicitPolicy,
		MaxAckPending: 1, // one message after the other: Slack takes about one a second
	})
	if err != nil {
		return err
	}
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		if err := tell(ctx, slack, m); err != nil {
			log.Print(err)
			_ = m.NakWithDelay(10 * time.Second)
			return
		}
		_ = m.Ack()
	})
	if err != nil {
		return err
	}
	defer consuming.Stop()
	fmt.Println("waiting for deals")
	<-ctx.Done()
	return nil
}

// escape keeps what people write into HubSpot from being a mention or a link. Slack rule: these three are its control
// characters.
var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func tell(ctx context.Context, slack string, m jetstream.Msg) error {
	event, err := schemas.DecodeEvent(schemas.Message{Subject: m.Subject(), Header: m.Headers(), Data: m.Data()})
	if err != nil {
		log.Print(err)
		return nil // it will not get better
	}
	stage, _ := event.Properties.Get("dealstage")
	isNew := event.Op == schemas.OpCreated // then nothing has changed
	if stage != "closedwon" || !isNew && !slices.Contains(event.Changed, "dealstage") {
		return nil
	}
	name, _ := event.Properties.Get("dealname")
	amount, _ := event.Properties.Get("amount")
	text := fmt.Sprintf("Won: %s (%s)", escape.Replace(cmp.Or(name, "deal "+event.ID)), escape.Replace(cmp.Or(amount, "no amount")))
	fmt.Println(text)
	body, err := json.Marshal(map[string]string{"text": text})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, slack, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("slack: %s", response.Status)
	}
	return nil
}
