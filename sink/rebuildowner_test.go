package sink_test

import (
	"context"
	"strings"
	"testing"

	"github.com/hubtail/hubtail/sink"
)

// TestARebuildIsTheOwnersOnly: a copy that an administrator makes is one that the sink's erasures never reach.
func TestARebuildIsTheOwnersOnly(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.applied0(r.logOfAll(2))
	role := "hubtail_" + r.value(`select md5(random()::text)`)
	r.exec(`create role ` + role + ` nologin`)
	t.Cleanup(func() {
		_, _ = r.pool.Exec(context.WithoutCancel(t.Context()), `drop owned by `+role+` cascade`)
		_, _ = r.pool.Exec(context.WithoutCancel(t.Context()), `drop role `+role)
	})
	r.exec(`alter schema hubspot owner to ` + role)
	for _, o := range []sink.RebuildOptions{{}, {Objects: []string{"contacts"}}} {
		if _, err := r.newTables().Rebuild(t.Context(), o); err == nil || !strings.Contains(err.Error(), "run it as "+role) {
			t.Errorf("%v: %v", o.Objects, err)
		}
	}
	r.want("", `select coalesce(to_regnamespace('hubspot_rebuild')::text, '')`)
	r.exec(`alter schema hubspot owner to current_user`)
	r.rebuild(r.newTables(), sink.RebuildOptions{})
}
