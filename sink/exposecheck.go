package sink

import (
	"fmt"
	"slices"
	"strings"
)

// supabaseSchemas are Supabase's own: what is made there is in its way, or lost with its next upgrade.
var supabaseSchemas = []string{"auth", "storage", "vault", "extensions", "realtime", "graphql", "graphql_public", "pgsodium", "pgsodium_masks", "pgbouncer"}

// check refuses what no database has to be asked about.
func (e Exposure) check(schema string) error {
	switch {
	case e.APISchema == schema:
		return fmt.Errorf("%w: the schema of the views must be another one than that of the tables, %s", ErrExposure, schema)
	case slices.Contains(supabaseSchemas, e.APISchema), strings.HasPrefix(e.APISchema, "supabase_"):
		return fmt.Errorf("%w: the schema %s is Supabase's own: name another one with --api-schema", ErrExposure, e.APISchema)
	}
	if fault := conditionFault(e.Policy); fault != "" {
		return fmt.Errorf("%w: the policy's condition %s", ErrExposure, fault)
	}
	return nil
}

// conditionFault says why a condition does not stand for itself inside parentheses, "" if it does: one that closes them
// would put aside the part of the policy that hides archived and purged rows. Postgres rules: comments of /* nest, those of
// -- end with the line; a quote in quotes is doubled. What begins by E' or $ has rules of its own, and nobody needs it here.
func conditionFault(sql string) string {
	depth := 0
	for i := 0; i < len(sql); i++ {
		switch c := sql[i]; {
		case c == '(':
			depth++
		case c == ')':
			if depth--; depth < 0 {
				return "closes a parenthesis that it did not open"
			}
		case c == ';':
			return "is to be one expression, without ;"
		case c == '$':
			return "has a $ outside quotes: write texts as '...'"
		case c == '\'' && i > 0 && (sql[i-1] == 'e' || sql[i-1] == 'E'):
			return "has a text E'...': write it as '...'"
		case c == '\'' || c == '"':
			end := strings.IndexByte(sql[i+1:], c)
			if end < 0 {
				return "has a quote that does not end"
			}
			i += end + 1
		case strings.HasPrefix(sql[i:], "--"):
			end := strings.IndexAny(sql[i:], "\r\n")
			if end < 0 {
				end = len(sql) - i
			}
			i += end - 1
		case strings.HasPrefix(sql[i:], "/*"):
			length := commentLength(sql[i:])
			if length == 0 {
				return "has a comment that does not end"
			}
			i += length - 1
		}
	}
	if depth > 0 {
		return "does not close a parenthesis"
	}
	return ""
}

// commentLength returns the bytes of the comment at the beginning of sql, 0 if it does not end.
func commentLength(sql string) int {
	depth := 0
	for i := 0; i+1 < len(sql); i++ {
		switch sql[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
		}
		if depth == 0 {
			return i + 1
		}
	}
	return 0
}
