package localnats

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/hubtail/hubtail/internal/filelock"
)

const (
	// MaxPayload is the largest message the server takes. The server's own
	// default, 1 MB, is less than a record with a few long text properties.
	MaxPayload = 8 << 20

	// readyTimeout bounds Start. A store of millions of messages is recovered
	// from its index in well under a second, without one it is read through.
	readyTimeout = 2 * time.Minute

	lockName = "hubtail.lock"
)

// ErrOpen is returned by Start for a listener beyond loopback that would let in everyone.
var ErrOpen = errors.New("everyone who reaches it could read the CRM")

// ErrInUse is returned by Start when another server has the store directory.
var ErrInUse = errors.New("store directory is in use")

// Options says where the server keeps its data and who may reach it.
type Options struct {
	// StoreDir is where JetStream keeps its files; it is created with mode 0700.
	StoreDir string

	// Listen is the address for other processes, for example "127.0.0.1:4222"
	// or "127.0.0.1:0" for any free port. Empty means in-process only. A port
	// without a host (":4222") means loopback.
	Listen string

	// User and Password, or Token, are asked of every connection when set.
	User, Password, Token string

	// Insecure allows a listener beyond loopback without credentials.
	Insecure bool

	// Logger receives the server's warnings and errors, and its notices at
	// debug level. Nil discards them.
	Logger *slog.Logger
}

// Server is a running NATS server. Stop it with Close.
type Server struct {
	opts   Options
	server *server.Server
	lock   *filelock.Lock

	closeOnce sync.Once
	closeErr  error
}

// Start runs a server and returns when it accepts connections.
func Start(opts Options) (*Server, error) {
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	so, err := serverOptions(opts)
	if err != nil {
		return nil, err
	}
	lock, err := lockStore(opts.StoreDir)
	if err != nil {
		return nil, err
	}

	ns, err := run(so, opts.Logger)
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return &Server{opts: opts, server: ns, lock: lock}, nil
}

// Connect returns a connection through memory: no socket, no port.
func (s *Server) Connect(options ...nats.Option) (*nats.Conn, error) {
	all := append([]nats.Option{nats.InProcessServer(s.server)}, s.credentials()...)
	nc, err := nats.Connect("", append(all, options...)...)
	if err != nil {
		return nil, fmt.Errorf("connect to embedded nats: %w", err)
	}
	return nc, nil
}

// URL is the address for other processes, without credentials, or "" when the
// server does not listen.
func (s *Server) URL() string {
	if s.opts.Listen == "" {
		return ""
	}
	return s.server.ClientURL()
}

// Close stops the server and waits until all of it is gone. It may be called
// more than once.
func (s *Server) Close() error {
	s.closeOnce.Do(func() {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		s.closeErr = s.lock.Unlock()
	})
	return s.closeErr
}

func (s *Server) credentials() []nats.Option {
	switch {
	case s.opts.Token != "":
		return []nats.Option{nats.Token(s.opts.Token)}
	case s.opts.User != "":
		return []nats.Option{nats.UserInfo(s.opts.User, s.opts.Password)}
	}
	return nil
}

// run starts the server and waits until it is ready. Failures of Start reach
// the logger only, so the logger hands them back.
func run(so *server.Options, logger *slog.Logger) (*server.Server, error) {
	ns, err := server.NewServer(so)
	if err != nil {
		return nil, fmt.Errorf("configure embedded nats: %w", err)
	}
	log := newServerLog(logger)
	ns.SetLogger(log, false, false)
	ns.Start()

	if err := log.fatal(); err != nil {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("start embedded nats: %w", err)
	}
	if !ns.ReadyForConnections(readyTimeout) {
		ns.Shutdown()
		ns.WaitForShutdown()
		return nil, fmt.Errorf("start embedded nats: not ready after %s", readyTimeout)
	}
	return ns, nil
}

func serverOptions(opts Options) (*server.Options, error) {
	if opts.StoreDir == "" {
		return nil, errors.New("embedded nats needs a store directory")
	}
	so := &server.Options{
		ServerName: "hubtail-" + rand.Text()[:8],
		JetStream:  true,
		StoreDir:   opts.StoreDir,
		SyncAlways: true,
		MaxPayload: MaxPayload,
		DontListen: true,
		NoSigs:     true, // signals belong to the program
		Username:   opts.User,
		Password:   opts.Password,
	}
	so.Authorization = opts.Token
	if opts.Listen == "" {
		return so, nil
	}

	host, port, err := splitListen(opts.Listen)
	if err != nil {
		return nil, err
	}
	open := opts.User == "" && opts.Token == ""
	if open && !opts.Insecure && !isLoopback(host) {
		return nil, fmt.Errorf("refuse to listen on %s without credentials: %w", opts.Listen, ErrOpen)
	}
	so.DontListen, so.Host, so.Port = false, host, port
	return so, nil
}

func splitListen(listen string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(listen)
	if err != nil {
		return "", 0, fmt.Errorf("parse listen address: %w", err)
	}
	port, err = strconv.Atoi(text)
	if err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("parse listen address %q: port must be 0 to 65535", listen)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	return host, port, nil
}

func isLoopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// lockStore creates the store directory and takes it. Two servers on one
// directory would overwrite each other's files: JetStream does not check.
func lockStore(dir string) (*filelock.Lock, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create nats store directory: %w", err)
	}
	// An existing directory keeps its mode through MkdirAll.
	if err := os.Chmod(dir, 0o700); err != nil {
		return nil, fmt.Errorf("protect nats store directory: %w", err)
	}
	lock, err := filelock.TryLock(filepath.Join(dir, lockName))
	if errors.Is(err, filelock.ErrLocked) {
		return nil, fmt.Errorf("%w (%w)", ErrInUse, err)
	}
	if err != nil {
		return nil, fmt.Errorf("lock nats store directory: %w", err)
	}
	return lock, nil
}
