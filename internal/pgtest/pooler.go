//go:build unix

package pgtest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Project is the name of the project in the user names that a Pooler takes: role.project, as Supabase's does.
const Project = "abcdefghijklmnopqrst"

// PoolerOptions say which PgBouncer is wanted. The zero value is one in transaction mode with three server connections.
type PoolerOptions struct {
	Session bool     // session mode
	Size    int      // default_pool_size
	TLS     bool     // clients must use TLS; its certificate is for localhost
	Extra   []string // further lines of its configuration
}

// A Pooler is a PgBouncer before a database: in transaction mode every transaction of a client may run on another server
// process, as behind Supabase's port 6543.
type Pooler struct {
	Address     string // host:port
	Certificate string // file with the self-signed certificate, with TLS

	program, dir string
	user         *url.Userinfo // of clients
	database     string
	cmd          *exec.Cmd
}

// StartPooler starts a pooler before a database, whose user and password it uses there. It is stopped when the test ends.
// Without PgBouncer on the machine the test is skipped, and counted.
func StartPooler(t testing.TB, database string, o PoolerOptions) *Pooler {
	t.Helper()
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program, err = exec.LookPath("/usr/sbin/pgbouncer") // not on everybody's PATH
	}
	if err != nil {
		Count(t, "pooler", "skipped (no pgbouncer on PATH)")
		t.Skip("needs PgBouncer: apt-get install pgbouncer")
	}
	Count(t, "pooler", "ran")
	cfg, err := pgx.ParseConfig(database)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "hubtail-pooler") // t.TempDir is not for the account it runs as
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	p := &Pooler{
		Address: net.JoinHostPort("localhost", strconv.Itoa(port)), program: program, dir: dir,
		user: url.UserPassword(cfg.User+"."+Project, "pooler-"+cfg.Password), database: cfg.Database,
	}
	if err := p.configure(cfg, o, port); err != nil {
		t.Fatal(err)
	}
	p.Start(t)
	t.Cleanup(p.Kill)
	return p
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

func (p *Pooler) configure(cfg *pgx.ConnConfig, o PoolerOptions, port int) error {
	mode, size := "transaction", 3
	if o.Session {
		mode = "session"
	}
	if o.Size > 0 {
		size = o.Size
	}
	lines := []string{
		"[databases]",
		fmt.Sprintf("* = host=%s port=%d user=%s password=%s", cfg.Host, cfg.Port, cfg.User, cfg.Password),
		"[pgbouncer]",
		"listen_addr = 127.0.0.1", fmt.Sprintf("listen_port = %d", port), "unix_socket_dir =",
		"auth_type = scram-sha-256", "auth_file = " + filepath.Join(p.dir, "users"),
		"pool_mode = " + mode, fmt.Sprintf("default_pool_size = %d", size), "server_login_retry = 1",
	}
	if o.TLS {
		if err := p.makeCertificate(); err != nil {
			return err
		}
		lines = append(lines, "client_tls_sslmode = require", "client_tls_key_file = "+filepath.Join(p.dir, "key.pem"), "client_tls_cert_file = "+p.Certificate)
	}
	lines = append(lines, o.Extra...)
	password, _ := p.user.Password()
	for name, text := range map[string]string{
		"pgbouncer.ini": strings.Join(lines, "\n") + "\n",
		"users":         fmt.Sprintf("%q %q\n", p.user.Username(), password),
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.Chmod(p.dir, 0o755)
}

// makeCertificate makes a certificate that nobody vouches for.
func (p *Pooler) makeCertificate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	p.Certificate = filepath.Join(p.dir, "cert.pem")
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: certificate}, "key.pem": {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(p.dir, name), pem.EncodeToMemory(block), 0o644); err != nil { // of a key for an hour
			return err
		}
	}
	return nil
}

// Start starts a pooler that was killed, and waits until it answers.
func (p *Pooler) Start(t testing.TB) {
	t.Helper()
	p.cmd = exec.Command(p.program, "-q", filepath.Join(p.dir, "pgbouncer.ini"))
	p.cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Getuid() == 0 { // it refuses root
		p.cmd.SysProcAttr.Credential = unprivileged(t)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		conn, err := net.DialTimeout("tcp", p.Address, time.Second)
		if err == nil {
			_ = conn.Close()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the pooler does not answer: %v", err)
		}
		time.Sleep(10 * time.Millisecond) // until it listens
	}
}

// Kill ends the pooler at once, with the connections through it.
func (p *Pooler) Kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// URL returns the database's address through the pooler, with parameters such as sslmode=require.
func (p *Pooler) URL(parameters string) string {
	return (&url.URL{Scheme: "postgres", User: p.user, Host: p.Address, Path: "/" + p.database, RawQuery: parameters}).String()
}

func unprivileged(t testing.TB) *syscall.Credential {
	t.Helper()
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.Atoi(u.Uid)
			gid, _ := strconv.Atoi(u.Gid)
			return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		}
	}
	t.Fatal("no account to run the pooler as")
	return nil
}
