package main

import (
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
)

// latencyQuery returns the query for count, median and 95th percentile, in seconds, of the time from a record's
// modification in HubSpot to its commit, over rows modified since $1.
func latencyQuery(schema string, tables []string) string {
	selects := make([]string, len(tables))
	for i, table := range tables {
		selects[i] = fmt.Sprintf("select extract(epoch from _synced_at - _updated_at) as s from %s where _updated_at >= $1",
			pgx.Identifier{schema, table}.Sanitize())
	}
	return "select count(*), coalesce(percentile_cont(0.5) within group (order by s), 0), coalesce(percentile_cont(0.95) within group (order by s), 0) from (" +
		strings.Join(selects, " union all ") + ") as changed"
}
