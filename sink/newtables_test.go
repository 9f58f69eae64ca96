package sink_test

import (
	"errors"
	"testing"

	"github.com/hubtail/hubtail/sink"
)

func TestTablesOfATakenConsumerAreNotCreated(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	check := func(schema, consumer string) error {
		return sink.CheckConsumer(t.Context(), sink.Config{Pool: r.pool, JetStream: r.js, Schema: schema, Consumer: consumer})
	}
	if err := check("other", ""); err != nil {
		t.Errorf("nobody has the consumer: %v", err)
	}
	s := r.start()
	r.applied(r.publish(event("contacts", 1, 0, props{"email": "a"})))
	eventually(t, "the refusal", func() bool { return errors.Is(check("other", ""), sink.ErrOtherConsumer) })
	for schema, consumer := range map[string]string{"hubspot": "", "other": "mine"} {
		if err := check(schema, consumer); err != nil {
			t.Errorf("schema %s, consumer %q: %v", schema, consumer, err)
		}
	}
	_ = s.stop()
	eventually(t, "nobody reads", func() bool { return check("other", "") == nil })
	r.want("0", `select count(*) from pg_namespace where nspname = 'other'`)
}
