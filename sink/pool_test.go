package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func TestPoolModeFollowsThePooler(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]pgx.QueryExecMode{
		"postgres://u:p@db.x.supabase.co:5432/postgres":                                                pgx.QueryExecModeCacheStatement,
		"postgres://u.x:p@aws-0-eu.pooler.supabase.com:5432/postgres":                                  pgx.QueryExecModeCacheDescribe,
		"postgres://u.x:p@aws-0-eu.pooler.supabase.com:6543/postgres":                                  pgx.QueryExecModeCacheDescribe,
		"postgres://u:p@bouncer:6432/postgres":                                                         pgx.QueryExecModeCacheDescribe,
		"host=db port=6543 user=u password=p dbname=x":                                                 pgx.QueryExecModeCacheDescribe,
		"postgres://u:p@h:6543/postgres?default_query_exec_mode=exec":                                  pgx.QueryExecModeExec,
		"postgres://u:p@bouncer:5432/postgres?default_query_exec_mode=cache_describe&pool_max_conns=2": pgx.QueryExecModeCacheDescribe,
	} {
		cfg, err := poolConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		if got := cfg.ConnConfig.DefaultQueryExecMode; got != want {
			t.Errorf("%s: mode %v, want %v", url, got, want)
		}
		if cfg.ConnConfig.RuntimeParams["application_name"] != "hubtail" {
			t.Errorf("%s: no application_name", url)
		}
		if conns := cfg.MaxConns; conns != 4 && !strings.Contains(url, "pool_max_conns") || conns > 4 {
			t.Errorf("%s: %d connections", url, conns)
		}
	}
}

func TestErrorsNeverShowThePassword(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-canary"
	for _, url := range []string{
		"postgres://u:" + secret + "@127.0.0.1:1/x",
		"postgres://u:" + secret + "@127.0.0.1:notaport/x",
		"postgres://u:" + secret + "@h:1/x?sslmode=nonsense",
		"host=127.0.0.1 port=1 user=u password=" + secret + " dbname=x",
		"host=127.0.0.1 port=1 user=u password='" + secret + "' nonsense",
		"postgres://u:x@" + secret + "@127.0.0.1:1/x",
		"postgres://u:x@" + secret + ":y@127.0.0.1:1/x",
		"postgres://u:x@h," + secret + "@127.0.0.1:1/x",
		"postgres://u:x/" + secret + "@127.0.0.1:1/x",
		"postgres://u:1/" + secret + "@127.0.0.1:1/x",
		"postgres://u:x#" + secret + "@127.0.0.1:1/x",
		"postgres://u:1?" + secret + "@127.0.0.1:1/x",
	} {
		_, err := OpenPool(t.Context(), url)
		if err == nil || strings.Contains(fmt.Sprintf("%v %+v %s", err, err, err), secret) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

func TestAnUnescapedAtInThePasswordIsNamedAsSuch(t *testing.T) {
	t.Parallel()
	_, err := OpenPool(t.Context(), "postgres://u:Abcd1234@Wxyz5678@127.0.0.1:1/crm")
	if !errors.Is(err, ErrDatabaseURL) || !strings.Contains(err.Error(), "%40") || strings.Contains(err.Error(), "Wxyz") {
		t.Errorf("error %v", err)
	}
	// One letter is in every word: nothing else of an error is lost for it.
	if _, err := OpenPool(t.Context(), "postgres://u:o@127.0.0.1:1/crm"); err == nil || !strings.Contains(err.Error(), "connect to postgres: failed to connect") {
		t.Errorf("error %v", err)
	}
}

func TestAnAddressThatIsReachedByIPv6OnlyLeadsToThePooler(t *testing.T) {
	t.Parallel()
	dial := func(err error) error {
		return fmt.Errorf("connect: %w", &net.OpError{Op: "dial", Net: "tcp", Err: err})
	}
	direct, pooler := &pgx.ConnConfig{}, &pgx.ConnConfig{}
	direct.Host, pooler.Host = "db.abcdefghijklmnopqrst.supabase.co", "aws-0-eu-central-1.pooler.supabase.com"
	for _, err := range []error{dial(syscall.ENETUNREACH), dial(syscall.EHOSTUNREACH), dial(os.ErrDeadlineExceeded), &net.DNSError{Err: "no such host", IsNotFound: true}} {
		if got := adviseConnect(err, direct).Error(); !strings.Contains(got, "postgres.abcdefghijklmnopqrst:PASSWORD@") || !strings.Contains(got, ".pooler.supabase.com:5432") {
			t.Errorf("%s does not name the pooler", got)
		}
		if got := adviseConnect(err, pooler); got != err {
			t.Errorf("%v for an address that is one", got)
		}
	}
	answer := &pgconn.PgError{Code: "28P01", Message: "password authentication failed"}
	if got := adviseConnect(answer, direct).Error(); strings.Contains(got, "pooler") || !strings.Contains(got, "check user and password") {
		t.Errorf("%s for a server that answered", got)
	}
}

func TestARefusedConnectionIsToldOnce(t *testing.T) {
	t.Parallel()
	const refused, advice = "connection refused", ": nothing listens there: start Postgres, or check host and port of DATABASE_URL"
	for url, want := range map[string]string{
		"postgres://u:p@127.0.0.1:1/x":                 "127.0.0.1:1: " + refused,
		"postgres://u:p@127.0.0.1:1/x?sslmode=disable": "127.0.0.1:1: " + refused,
		"postgres://u:p@[::1]:1/x":                     "[::1]:1: " + refused,
		"postgres://u:p@127.0.0.1:1,127.0.0.1:2/x":     "127.0.0.1:1: " + refused + "; 127.0.0.1:2: " + refused,
	} {
		_, err := OpenPool(t.Context(), url)
		if want = "connect to postgres: failed to connect to `user=u database=x`: " + want + advice; err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", url, err, want)
		}
		if got := Advice(err); ": "+got != advice {
			t.Errorf("%s: advice %q", url, got)
		}
	}
	text := "failed to connect to `u`:\n\thostname resolving error: lookup x on y: no such host\n\tlookup x on y: no such host"
	if got, want := tellOnce(text), "failed to connect to `u`: hostname resolving error: lookup x on y: no such host"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// Two refusals of one address, with TLS and without, are two.
	text = "failed to connect to `u`:\n\t1.2.3.4:5 (db.example): server refused TLS connection\n\t1.2.3.4:5 (db.example): no encryption"
	if got, want := tellOnce(text), "failed to connect to `u`: 1.2.3.4:5 (db.example): server refused TLS connection; 1.2.3.4:5 (db.example): no encryption"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestTheGuideHasEveryRefusalThatHasAdvice(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/supabase.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range connectAdvice {
		if !strings.Contains(string(guide), a.text) {
			t.Errorf("docs/supabase.md does not have %q", a.text)
		}
		if got := adviseConnect(errors.New("FATAL: "+a.text), &pgx.ConnConfig{}).Error(); !strings.HasSuffix(got, a.advice) {
			t.Errorf("%s: %s", a.text, got)
		}
	}
}

func TestFaultsAreToldApart(t *testing.T) {
	t.Parallel()
	pg := func(code string) error { return fmt.Errorf("write rows: %w", &pgconn.PgError{Code: code}) }
	for _, c := range []struct {
		err  error
		want fault
	}{
		{pg("40001"), faultRetry}, {pg("40P01"), faultRetry}, {pg("55P03"), faultRetry}, {pg("57014"), faultRetry},
		{pg("08006"), faultConnect}, {pg("57P01"), faultConnect}, {pg("57P02"), faultConnect}, {pg("57P03"), faultConnect}, {pg("53300"), faultConnect},
		{pg("26000"), faultConnect}, {pg("42P05"), faultConnect}, {io.ErrUnexpectedEOF, faultConnect}, {&pgconn.ConnectError{}, faultConnect},
		{pg("53100"), faultWait}, {pg("53200"), faultWait}, {pg("25006"), faultWait},
		{pg("22P02"), faultData}, {pg("22003"), faultData}, {pg("23505"), faultData}, {pg("54000"), faultData}, {pg("P0001"), faultData},
		{pg("42703"), faultSchema}, {pg("42P01"), faultSchema}, {pg("42804"), faultSchema},
		{pg("28P01"), faultStop}, {pg("42501"), faultStop}, {pg("42601"), faultStop}, {pg("0A000"), faultStop}, {errors.New("a bug"), faultStop},
		{ErrMoved, faultStop}, {fmt.Errorf("x: %w", errStale), faultStop},
		{errors.New("FATAL: MaxClientsInSessionMode: max clients reached"), faultConnect}, {&pgconn.PgError{Code: "XX000"}, faultWait},
		{context.DeadlineExceeded, faultConnect},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
	}
}
