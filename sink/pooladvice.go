package sink

import (
	"errors"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// connectAdvice is what to do about a refusal to connect, by a part of its text; the first that fits counts. The texts are
// those of Postgres, PgBouncer, Supabase's pooler and the TLS library; docs/supabase.md has the same list.
var connectAdvice = []struct{ text, advice string }{
	{"enant or user not found", "the user of a pooler is role.project, such as postgres.abcdefghijklmnopqrst, and the host is that of the project's own region: copy both from the dashboard, Connect"},
	{"max clients", "all places of the pooler are taken: use the transaction pooler (port 6543), give the URL pool_max_conns=2, or raise the pool size in the dashboard, Database, Settings"},
	{"too many connections for role", "raise the role's limit (alter role ... connection limit 8), or give the URL pool_max_conns=2"},
	{"remaining connection slots are reserved", "all connections of the server are taken: use a pooler, or give the URL pool_max_conns=2"},
	{"query_wait_timeout", "no connection of the pooler became free in time: raise its default_pool_size"},
	{"unsupported startup parameter", "the pooler takes no settings: remove statement_timeout, search_path and the like from the URL, or say default_query_exec_mode=cache_describe in it, which leaves them out"},
	{"no encryption", "the server wants TLS: add sslmode=require to the URL"},
	{"SSL connection is required", "the server wants TLS: add sslmode=require to the URL"},
	{"SSL required", "the server wants TLS: add sslmode=require to the URL"},
	{"certificate signed by unknown authority", "name the server's certificate authority by sslrootcert=FILE in the URL (Supabase: dashboard, Database, Settings, SSL configuration), or say sslmode=require, which encrypts without checking who answers"},
	{"certificate is valid for", "the certificate is for another host name: say sslmode=verify-ca, which checks the authority only"},
	{"cannot validate certificate", "the certificate is for another host name: say sslmode=verify-ca, which checks the authority only"},
	{"password authentication failed", "check user and password of the database URL; special characters in a password are percent-encoded there"},
	{"SASL authentication failed", "check user and password of the database URL; special characters in a password are percent-encoded there"},
	{"SQLSTATE 3D000", "create the database, or correct its name in the URL"},
	{"connection refused", "nothing listens there: start Postgres, or check host and port of DATABASE_URL"},
	// Last: without sslmode both ways are tried, and the other one's refusal says more.
	{"server refused TLS connection", "the server has no TLS: remove sslmode from the URL, or say sslmode=disable, on a network you trust"},
}

const poolerInstead = "the direct address of a Supabase project is reached by IPv6 only (unless it has the IPv4 add-on), and this machine has none: " +
	"set DATABASE_URL to the session pooler's address (dashboard, Connect, Session pooler), postgresql://postgres.%s:PASSWORD@aws-0-REGION.pooler.supabase.com:5432/postgres"

// adviseConnect adds to an error of connecting what can be done about it, if that is known.
func adviseConnect(err error, cfg *pgx.ConnConfig) error {
	if project, direct := supabaseProject(cfg.Host); direct && unreachable(err) {
		return advised{err, fmt.Sprintf(poolerInstead, project)}
	}
	text := err.Error()
	for _, a := range connectAdvice {
		if strings.Contains(text, a.text) {
			return advised{err, a.advice}
		}
	}
	return err
}

// advised is an error of connecting with what can be done about it.
type advised struct {
	err    error
	advice string
}

func (a advised) Error() string { return a.err.Error() + ": " + a.advice }
func (a advised) Unwrap() error { return a.err }

// Advice returns what an error of OpenPool says at its end can be done about it, "" if that is not known.
func Advice(err error) string {
	var a advised
	errors.As(err, &a)
	return a.advice
}

// dialled is what Go says around the cause of a connection that was not made, with the address once more.
var dialled = regexp.MustCompile(`dial error: dial tcp \S+: (?:connect: )?`)

// numeric is an address that stands for itself: pgx writes it once as resolved and once as it was given.
var numeric = regexp.MustCompile(`(\S+)(:\d+) \((\S+)\)`)

// tellOnce takes out of pgx's text of connecting what it says twice: it tries every address with TLS and without, and writes
// a line for each.
func tellOnce(text string) string {
	var lines []string
	for _, line := range strings.Split(text, "\n\t") {
		line = dialled.ReplaceAllString(line, "")
		if m := numeric.FindStringSubmatch(line); m != nil && strings.Trim(m[1], "[]") == m[3] {
			line = strings.Replace(line, " ("+m[3]+")", "", 1)
		}
		if !slices.ContainsFunc(lines, func(said string) bool { return strings.HasSuffix(said, line) }) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return lines[0] + " " + strings.Join(lines[1:], "; ")
}

// supabaseProject returns the project of a direct address, db.<project>.supabase.co.
func supabaseProject(host string) (project string, direct bool) {
	rest, direct := strings.CutPrefix(host, "db.")
	project, suffix := strings.CutSuffix(rest, ".supabase.co")
	return project, direct && suffix && !strings.Contains(project, ".")
}

// unreachable reports whether nobody answered at an address, not even with a no: a name without an address of a family
// that this machine has, no route, or silence.
func unreachable(err error) bool {
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return false
	}
	var lookup *net.DNSError
	var dial *net.OpError
	return errors.As(err, &lookup) || errors.As(err, &dial) || pgconn.Timeout(err)
}
