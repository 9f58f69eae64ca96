// Package proxy is a TCP proxy for tests that bends a connection the way networks do: it cuts it, slows it down, or lets it
// fall silent, where both ends believe it is alive and nothing arrives any more.
package proxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy forwards connections to an address, which may change: a database that failed over to another server.
type Proxy struct {
	listener net.Listener
	wait     sync.WaitGroup

	mu      sync.Mutex // guards what follows
	changed *sync.Cond
	target  string
	refuse  bool
	silent  bool
	delay   time.Duration
	pairs   map[*pair]struct{}
	closed  bool
}

// pair is a connection of a client and ours to the target.
type pair struct {
	client, target net.Conn
}

func (p *pair) close() {
	_ = p.client.Close()
	_ = p.target.Close()
}

// Start returns a proxy that listens on a free port of 127.0.0.1. Stop it with Close.
func Start(target string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("start proxy: %w", err)
	}
	p := &Proxy{listener: listener, target: target, pairs: make(map[*pair]struct{})}
	p.changed = sync.NewCond(&p.mu)
	p.wait.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Close cuts all connections and waits until everything is gone.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.changed.Broadcast()
	p.mu.Unlock()
	err := p.listener.Close()
	p.Cut()
	p.wait.Wait()
	return err
}

// Cut closes all connections. New ones are accepted.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for pair := range p.pairs {
		pair.close()
	}
}

// SetTarget sends new connections to another address.
func (p *Proxy) SetTarget(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = addr
}

// Refuse closes new connections at once, or no longer.
func (p *Proxy) Refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = on
}

// Silence makes all connections, new ones too, take what is sent and hand nothing on, or no longer. What was taken meanwhile
// is handed on then.
func (p *Proxy) Silence(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.silent = on
	p.changed.Broadcast()
}

// Slow delays everything, in both directions, by d.
func (p *Proxy) Slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Heal makes new connections and those that are left work again.
func (p *Proxy) Heal() {
	p.Slow(0)
	p.Refuse(false)
	p.Silence(false)
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.wait.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	defer client.Close() //nolint:errcheck // it is over either way
	p.mu.Lock()
	addr, refuse := p.target, p.refuse || p.closed
	p.mu.Unlock()
	if refuse {
		return
	}
	target, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		return
	}
	c := &pair{client, target}
	defer c.close()
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.pairs[c] = struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.forward(c, client, target) })
	p.forward(c, target, client)
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.pairs, c)
}

// forward hands bytes on until one end closes; then the other one is closed, too.
func (p *Proxy) forward(c *pair, from, to net.Conn) {
	defer c.close()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !p.pass() {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// pass waits as long as the connections are slow or silent, and reports false once the proxy is closed.
func (p *Proxy) pass() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d := p.delay; d > 0 {
		p.mu.Unlock()
		time.Sleep(d) // the fault itself
		p.mu.Lock()
	}
	for p.silent && !p.closed {
		p.changed.Wait()
	}
	return !p.closed
}
