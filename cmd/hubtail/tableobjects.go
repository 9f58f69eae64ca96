package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hubtail/hubtail/internal/history"
)

// tableObjects returns object types as the tables name them, by name, singular or type id, and a usageError if one has no table;
// also are names that mean something without one. Where the tables cannot be asked, the names come back as they are: whoever
// needs the tables says better what is the matter with them.
func (p *parts) tableObjects(ctx context.Context, pool *pgxpool.Pool, names []string, also ...string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	rows, err := pool.Query(ctx, `select object, coalesce(object_type_id, '') from `+p.table("objects")+` order by object`)
	if err != nil {
		return names, nil
	}
	types, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (t history.ObjectType, err error) {
		err = row.Scan(&t.Name, &t.TypeID)
		return t, err
	})
	if err != nil {
		return names, nil
	}
	for _, t := range types {
		also = append(also, t.Name)
	}
	slices.Sort(also)
	known := make([]string, len(names))
	for i, name := range names {
		if known[i] = objectName(name, types); !slices.Contains(also, known[i]) {
			err = usageError{fmt.Errorf("there is no table of %s in schema %s%s; there are: %s", name, p.schema, didYouMean(name, also), strings.Join(slices.Compact(also), ", "))}
		}
	}
	slices.Sort(known)
	return slices.Compact(known), err
}
