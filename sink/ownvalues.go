package sink

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
)

// copyOwnSQL gives the rows of a pair's other table the values that the live rows have in the owner's columns; "" if there are
// none.
func copyOwnSQL(ctx context.Context, tx pgx.Tx, p pair) (string, error) {
	if is, err := there(ctx, tx, p.liveTable(), p.otherTable()); err != nil || !is {
		return "", err
	}
	// Postgres rule: a number's text has all its digits unless a role or a database was told to leave some out.
	if _, err := tx.Exec(ctx, `select set_config('extra_float_digits', '3', true)`); err != nil {
		return "", err
	}
	key := []string{"id"}
	if p.object == "" {
		key = linkColumnNames[p.name].key
	}
	own, err := ownColumns(ctx, tx, p.live, p.object, p.name)
	if err != nil {
		return "", err
	}
	var names, sets, mine, theirs []string
	for _, c := range own {
		if !c.generated {
			name := quote(c.name)
			names, sets = append(names, name), append(sets, name+" = l."+name)
			mine, theirs = append(mine, "n."+name), append(theirs, "l."+name)
		}
	}
	if len(names) == 0 {
		return "", nil
	}
	differ := fmt.Sprintf(`row(l.%s) = row(n.%s) and row(%s)::text is distinct from row(%s)::text`,
		strings.Join(key, ", l."), strings.Join(key, ", n."), strings.Join(mine, ", "), strings.Join(theirs, ", "))
	var unique bool
	if err := tx.QueryRow(ctx, `select exists (select from pg_index where indrelid = to_regclass($1) and (indisunique or indisexclusion) and not indisprimary)`,
		p.otherTable()).Scan(&unique); err != nil {
		return "", err
	}
	if !unique {
		return fmt.Sprintf(`update %s n set %s from %s l where %s`, p.otherTable(), strings.Join(sets, ", "), p.liveTable(), differ), nil
	}
	// Postgres rule: a unique index is asked for every row that an update writes, though another one is about to give its value up.
	// So all rows are taken out first, which is what the sorting does, and come back with their values then.
	others, err := statements(ctx, tx, `select attname from pg_attribute where attrelid = to_regclass(@table) and attnum > 0 and not attisdropped
		and attgenerated = '' order by attnum`, pgx.NamedArgs{"table": p.otherTable()})
	if err != nil {
		return "", err
	}
	others = slices.DeleteFunc(others, func(name string) bool { return slices.Contains(names, quote(name)) })
	for i, name := range others {
		others[i] = quote(name)
	}
	columns := strings.Join(slices.Concat(others, names), ", ")
	return fmt.Sprintf(`with gone as (delete from %[1]s n using %[2]s l where %[3]s returning n.%[4]s, %[5]s)
		insert into %[1]s (%[6]s) overriding system value select %[6]s from gone order by %[7]s`,
		p.otherTable(), p.liveTable(), differ, strings.Join(others, ", n."), strings.Join(theirs, ", "), columns, strings.Join(key, ", ")), nil
}

// copyLate does that in the swap's transaction, for what the owner wrote since the last time. Readers go on meanwhile, only
// writers wait: comparing takes about three microseconds a row, and is nothing that readers are to wait for.
func (r *rebuilding) copyLate(ctx context.Context, tx pgx.Tx, pairs []pair) error {
	for _, p := range pairs {
		sql, err := copyOwnSQL(ctx, tx, p)
		if err != nil {
			return err
		}
		if sql == "" {
			continue
		}
		err = execAll(ctx, tx, fmt.Sprintf(`select set_config('lock_timeout', '%dms', true)`, r.o.LockWait.Milliseconds()),
			`lock table `+p.liveTable()+` in share mode`, `select set_config('lock_timeout', '2s', true)`, sql)
		if err != nil {
			return fmt.Errorf("carry the owner's values of %s over: %w", p.liveTable(), err)
		}
	}
	return nil
}
