package jetlog

import (
	"context"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// readerPatience bounds how long the server may take to make a reader. NATS rule (nats-server 2.15, measured): for the last
// messages of subjects it looks through all of them first, which takes 5 s for a million on a busy machine; the client's own
// bound is 5 s.
const readerPatience = time.Minute

// Reader returns an ordered consumer of a stream: the caller's own, without acknowledgements.
func Reader(ctx context.Context, js jetstream.JetStream, stream string, cfg jetstream.OrderedConsumerConfig) (jetstream.Consumer, error) {
	ctx, cancel := context.WithTimeout(ctx, readerPatience)
	defer cancel()
	return js.OrderedConsumer(ctx, stream, cfg)
}
