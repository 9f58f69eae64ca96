package sink_test

import (
	"context"
	"net/url"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/sink"
)

// TestALoginRefusedAfterItWorkedIsWaitedFor: a password that is changed, or a role that is locked for a moment. From the start,
// it is an error of whoever starts the sink.
func TestALoginRefusedAfterItWorkedIsWaitedFor(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	role := "hubtail_" + r.value(`select md5(random()::text)`)
	r.exec(`create role ` + role + ` login superuser password 'least'`)
	t.Cleanup(func() { _, _ = r.pool.Exec(context.WithoutCancel(t.Context()), `drop role `+role) })
	u, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.UserPassword(role, "least")
	pool := openPool(t, u.String())
	refuse := func() {
		r.exec(`alter role ` + role + ` nologin`)
		r.exec(`select pg_terminate_backend(pid) from pg_stat_activity where usename = $1`, role)
	}
	r.publish(definitions(t, "contacts", 0, "email", "string"))
	s := r.start(func(c *sink.Config) { c.Pool = pool })
	r.applied(r.load(3, "a"))
	refuse()
	last := r.load(3, "b")
	eventually(t, "it says why it waits, and what to do", func() bool {
		failing := s.Stats().Error
		return strings.Contains(failing, "not permitted to log in") && strings.Contains(failing, "check user and password")
	})
	r.exec(`alter role ` + role + ` login`)
	r.applied(last)
	r.want("3", `select count(*) from hubspot.contacts where email = 'b'`)
	eventually(t, "all well", func() bool { return s.Stats().Error == "" })
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}

	fresh, err := sink.New(t.Context(), sink.Config{Pool: pool, JetStream: r.js, Schema: schema, Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	refuse()
	if err := fresh.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "check user and password") {
		t.Errorf("from the start: %v", err)
	}
}
