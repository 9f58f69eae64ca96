package sink

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5"
)

// maxName is how many bytes of an identifier Postgres keeps; it cuts the rest off without an error.
const maxName = 63

// reservedColumns are taken in every table of records: by Postgres itself, and by the sink.
var reservedColumns = map[string]bool{
	"tableoid": true, "xmin": true, "cmin": true, "xmax": true, "cmax": true, "ctid": true,
	"id": true, "_seq": true, "_merged_into": true, "_created_at": true, "_updated_at": true, "_archived_at": true,
	"_synced_at": true, "_archived": true, "_purged": true, "_extra": true,
}

// staticTables are the names the migrations use.
var staticTables = map[string]bool{
	"exposed": true, "readers": true, "objects": true, "properties": true, "link_sets": true, "links": true, "pipelines": true, "pipeline_stages": true,
	"dead_letters": true, "sync_logs": true, "cursors": true, "positions": true, "installation": true, "schema_migrations": true,
	"erased": true, "copies": true, "copy_erasures": true,
	"withheld": true,
}

// columnName returns the column for a property. It is the property's own name wherever Postgres can have a column of
// that name which is not taken; names that differ only in case are two columns, since identifiers are always quoted.
// Otherwise it is as much of the name as fits and a hash of all of it, so that it depends on nothing but the name.
func columnName(property string, taken func(string) bool) string {
	return safeName(property, func(name string) bool { return reservedColumns[name] || taken(name) })
}

// tableName returns the table for an object type, by the same rule.
func tableName(object string, taken func(string) bool) string {
	return safeName(object, func(name string) bool { return staticTables[name] || taken(name) })
}

func safeName(name string, taken func(string) bool) string {
	if name != "" && len(name) <= maxName && utf8.ValidString(name) && !strings.ContainsRune(name, 0) && !taken(name) {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	hash := hex.EncodeToString(sum[:])
	for digits := 8; digits <= 32; digits += 8 {
		if candidate := cutName(name, maxName-1-digits) + "_" + hash[:digits]; !taken(candidate) {
			return candidate
		}
	}
	return hash[:maxName]
}

// cutName returns at most n bytes of name, whole characters, without what an identifier cannot hold.
func cutName(name string, n int) string {
	name = clean(name)
	for len(name) > n {
		_, size := utf8.DecodeLastRuneInString(name)
		name = name[:len(name)-size]
	}
	return name
}

// clean replaces what Postgres text cannot hold, NUL and lone surrogates. It is for labels, reasons and names, where a
// replacement character does no harm; values of properties keep every byte (see appendExtra).
func clean(text string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// quote returns an identifier of one or more parts, quoted.
func quote(parts ...string) string { return pgx.Identifier(parts).Sanitize() }

// literal returns text as a string constant, for the places in DDL that take no parameter.
func literal(text string) string {
	return "E'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(clean(text)) + "'"
}
