package sink

import (
	"context"
)

// CheckConsumer refuses tables that do not exist yet if their consumer feeds others, before anything is created for them. What
// cannot be asked is no reason to refuse: Run asks again.
func CheckConsumer(ctx context.Context, cfg Config) error {
	cfg = cfg.withDefaults()
	var there bool
	err := cfg.Pool.QueryRow(ctx, `select to_regclass($1) is not null`, quote(cfg.Schema, "installation")).Scan(&there)
	if err != nil || there {
		return nil //nolint:nilerr // migrate says what is wrong with the database
	}
	consumer, err := cfg.JetStream.Consumer(ctx, cfg.Stream, cfg.Consumer)
	if err != nil {
		return nil //nolint:nilerr // there is none yet, or Run says why not
	}
	s := &Sink{cfg: cfg}
	return s.checkConsumer(consumer.CachedInfo(), s.consumerConfig("", 0), 0)
}
