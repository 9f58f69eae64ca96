//go:build unix

package localpg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	superuser = "postgres"

	// startTimeout covers crash recovery of a kept cluster.
	startTimeout = 3 * time.Minute
	startStep    = 10 * time.Millisecond

	portTries = 5
	logTail   = 2048
)

// startServer makes the cluster in h, if it is new, and runs it with bin. What
// it made and could not run it removes: the next binaries may be of another
// version.
func startServer(ctx context.Context, opts Options, h *home, bin binaries) (*Cluster, error) {
	made, err := h.madeBy()
	if err != nil {
		return nil, &FolderError{h.dir, err}
	}
	c, err := startIn(ctx, opts, h, bin)
	if err != nil && made == 0 {
		err = errors.Join(err, os.RemoveAll(h.data()))
	}
	return c, err
}

func startIn(ctx context.Context, opts Options, h *home, bin binaries) (*Cluster, error) {
	if err := h.account.cannotEnter(bin.dir); err != nil {
		return nil, err
	}
	password, err := h.password()
	if err != nil {
		return nil, &FolderError{h.dir, err}
	}
	if err := initCluster(ctx, h, bin); err != nil {
		return nil, err
	}
	if err := clearStaleLock(ctx, h.data()); err != nil {
		return nil, &FolderError{h.dir, err}
	}

	s := &server{home: h, bin: bin, opts: opts, password: password}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	c := &Cluster{Source: bin.source, Major: bin.major, admin: s.url(), stop: sync.OnceValue(s.stop)}
	if err := AddSupabaseRoles(ctx, c.admin); err != nil {
		return nil, errors.Join(err, s.process.stop())
	}
	opts.Logger.Debug("postgres started", "source", bin.source, "port", s.port)
	return c, nil
}

// initCluster runs initdb beside the final place and renames: an interrupted
// initdb leaves no half cluster that looks like one.
func initCluster(ctx context.Context, h *home, bin binaries) error {
	made, err := h.madeBy()
	if err != nil {
		return &FolderError{h.dir, err}
	}
	if made != 0 {
		return nil
	}
	fresh := h.path("data.init")
	if err := h.makeEmpty(fresh); err != nil {
		return &FolderError{h.dir, err}
	}
	args := []string{
		"-D", fresh, "-U", superuser, "-E", "UTF8",
		"--auth=scram-sha-256", "--pwfile=" + h.path(passwordName),
	}
	if h.throwaway {
		args = append(args, "--no-sync")
	}
	// C.UTF-8 sorts by code point and knows upper and lower case; systems
	// without it (macOS) get C.
	for _, locale := range []string{"C.UTF-8", "C"} {
		if err = runInitdb(ctx, h, bin, append(args, "--locale="+locale)); err == nil {
			return os.Rename(fresh, h.data())
		}
		if ctx.Err() != nil || !strings.Contains(err.Error(), "locale") {
			break
		}
	}
	return errors.Join(err, os.RemoveAll(fresh))
}

func runInitdb(ctx context.Context, h *home, bin binaries, args []string) error {
	// Pdeathsig follows the thread that forks.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.CommandContext(ctx, bin.path("initdb"), args...)
	cmd.Dir = h.dir
	cmd.Env = bin.env(h.dir)
	cmd.SysProcAttr = processAttributes(h.account)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, tail(out.Bytes()))
	}
	return nil
}

// server is a running private cluster.
type server struct {
	home     *home
	bin      binaries
	opts     Options
	password string
	port     int
	process  *process
}

// run starts postgres and waits until it answers. Another program may take the
// port between the moment it was free and the moment postgres binds it: then it
// is tried with another one.
func (s *server) run(ctx context.Context) (err error) {
	s.port = s.home.lastPort()
	for range portTries {
		if s.port == 0 {
			if s.port, err = freePort(); err != nil {
				return err
			}
		}
		if err = s.runOnce(ctx); err == nil {
			return s.home.keepPort(s.port)
		}
		if !strings.Contains(err.Error(), "could not bind") {
			return err
		}
		s.port = 0
	}
	return err
}

func (s *server) runOnce(ctx context.Context) error {
	log, err := os.Create(s.home.path(logName))
	if err != nil {
		return &FolderError{s.home.dir, err}
	}
	defer log.Close() // postgres has its own descriptor

	cmd := exec.Command(s.bin.path("postgres"), s.arguments()...)
	cmd.Dir = s.home.dir
	cmd.Env = s.bin.env(s.home.dir)
	cmd.SysProcAttr = processAttributes(s.home.account)
	cmd.Stdout, cmd.Stderr = log, log
	if s.process, err = startProcess(cmd); err != nil {
		return fmt.Errorf("run %s: %w", cmd.Path, err)
	}
	if err := s.waitReady(ctx); err != nil {
		stopErr := s.process.stop()
		text, _ := os.ReadFile(log.Name())
		return errors.Join(fmt.Errorf("start postgres: %w: %s", err, tail(text)), stopErr)
	}
	return nil
}

func (s *server) arguments() []string {
	settings := []string{
		"listen_addresses=127.0.0.1",
		"port=" + strconv.Itoa(s.port),
		"unix_socket_directories=", // Debian's default is not writable, and TCP suffices
		"max_connections=300",
		"cluster_name=hubtail",
		"timezone=UTC",
		"log_timezone=UTC",
		"logging_collector=off",
	}
	if s.opts.NoSync {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	args := []string{"-D", s.home.data()}
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return args
}

// waitReady connects until it works. The password proves that the answer comes
// from our server and not from another one on the same port.
func (s *server) waitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(startStep)
	defer tick.Stop()
	for {
		conn, err := connect(ctx, s.url())
		if err == nil {
			closeConn(ctx, conn)
			return nil
		}
		if refusesForGood(err) {
			return err
		}
		select {
		case <-s.process.done:
			return fmt.Errorf("it ended: %w", cmpErr(s.process.err, err))
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-tick.C:
		}
	}
}

// refusesForGood tells a server that does not want this client, for example for
// what PGOPTIONS asks, from one that is starting (57), has no free slot (53) or
// belongs to somebody else (28): ours then reports the port as taken.
func refusesForGood(err error) bool {
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || len(pgErr.Code) < 2 {
		return false
	}
	class := pgErr.Code[:2]
	return class != "57" && class != "53" && class != "28"
}

func (s *server) url() string {
	u := url.URL{
		Scheme:   "postgres",
		User:     url.UserPassword(superuser, s.password),
		Host:     net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return u.String()
}

func (s *server) stop() error {
	if err := s.process.stop(); err != nil {
		return fmt.Errorf("stop postgres: %w", err)
	}
	return s.home.close()
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	return port, l.Close()
}

// tail returns the end of a log for an error message.
func tail(text []byte) string {
	text = bytes.TrimSpace(text)
	if len(text) > logTail {
		text = text[len(text)-logTail:]
	}
	return string(text)
}

func cmpErr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}
