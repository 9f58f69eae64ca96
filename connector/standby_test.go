//go:build unix

package connector

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hubtail/hubtail/connector/simulator"
)

// sourceProcess is a source in a process of its own.
type sourceProcess struct {
	t        *testing.T
	cmd      *exec.Cmd
	requests atomic.Int64 // at HubSpot
	done     chan struct{}

	mu    sync.Mutex // guards lines
	lines []string   // of its log
}

func (b *sourceBundle) startProcess() *sourceProcess {
	b.t.Helper()
	p := &sourceProcess{t: b.t.(*testing.T), done: make(chan struct{})}
	hubspot := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.requests.Add(1)
		b.sim.Handler().ServeHTTP(w, r)
	}))
	b.t.Cleanup(hubspot.Close)
	p.cmd = exec.Command(os.Args[0])
	p.cmd.Env = append(os.Environ(), childEnv+"="+b.server.URL(), childHubSpotEnv+"="+hubspot.URL)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	must(b.t, err)
	must(b.t, p.cmd.Start())
	go func() {
		defer close(p.done)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			p.mu.Lock()
			p.lines = append(p.lines, lines.Text())
			p.mu.Unlock()
		}
		_ = p.cmd.Wait() // how it ends is no news
	}()
	b.t.Cleanup(func() { p.end(syscall.SIGKILL) })
	return p
}

// said returns how often the process wrote a text to its log.
func (p *sourceProcess) said(text string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range p.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// leads is how often the process began to lead, as its log says.
func (p *sourceProcess) leads() int { return p.said("msg=leading") }

// leading reports whether the process leads now, as far as its log says.
func (p *sourceProcess) leading() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, line := range slices.Backward(p.lines) {
		switch {
		case strings.Contains(line, "msg=leading"):
			return true
		case strings.Contains(line, "another source leads"):
			return false
		}
	}
	return false
}

func (p *sourceProcess) signal(s syscall.Signal) {
	p.t.Helper()
	must(p.t, p.cmd.Process.Signal(s))
}

// end sends a signal that ends the process, and waits for that.
func (p *sourceProcess) end(s syscall.Signal) {
	_ = p.cmd.Process.Signal(s) // it may have ended
	if s == syscall.SIGKILL {
		_ = p.cmd.Process.Signal(syscall.SIGCONT)
	}
	<-p.done
}

// await waits for a condition and shows the log of the processes if it does not come.
func await(t *testing.T, what string, within time.Duration, condition func() bool, processes ...*sourceProcess) {
	t.Helper()
	defer func() {
		if t.Failed() {
			for _, p := range processes {
				t.Logf("process %d:\n%s", p.cmd.Process.Pid, strings.Join(p.lines, "\n"))
			}
		}
	}()
	eventuallyWithin(t, what, within, condition)
}

// changes updates records until it is stopped.
func (b *sourceBundle) changes(object string, every time.Duration) (stop func()) {
	ids := b.sim.IDs(object, 0, 1_000_000, 1)
	ctx, cancel := context.WithCancel(b.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
			id := ids[n*7919%len(ids)]
			if err := b.sim.Update(object, id, map[string]string{"hs_call_title": fmt.Sprint(n)}); err != nil {
				b.t.Error(err)
			}
		}
	}()
	return sync.OnceFunc(func() {
		cancel()
		<-done
	})
}

// completeThrough reports whether the log says of all objects that it has what was modified before a time.
func (b *sourceBundle) completeThrough(at time.Time) bool {
	status, err := ReadStatus(b.t.Context(), b.js, "HUBSPOT", "")
	if err != nil || len(status.Objects) < len(crashConfig.Objects) {
		return false
	}
	for _, o := range status.Objects {
		if !o.Cursor.CompleteThrough.After(at) {
			return false
		}
	}
	return true
}

// requireComplete stops the changes and checks that the log has every state, none twice in a row.
func (b *sourceBundle) requireComplete(processes ...*sourceProcess) {
	b.t.Helper()
	end := b.sim.Now()
	await(b.t.(*testing.T), "watermarks past the last change", time.Minute, func() bool { return b.completeThrough(end) }, processes...)
	for _, object := range crashConfig.Objects {
		b.nothingLost(object, end.Add(time.Hour))
		b.noDuplicatesOf(object)
	}
}

// quickIndex shows changes in search soon, out of order.
var quickIndex = simulator.Lag{Min: time.Millisecond, Max: 50 * time.Millisecond, Tail: -1}

// TestKillNineOfTheLeaderHandsOverWithin20Seconds measures with the lease as it is by default.
func TestKillNineOfTheLeaderHandsOverWithin20Seconds(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 500, Contacts: 300, IndexLag: quickIndex}, crashConfig)
	leader := b.startProcess()
	await(t, "it leads and has read everything", longest, func() bool { return b.completeThrough(time.Time{}) }, leader)
	standby := b.startProcess()
	await(t, "the other stands by", longest, func() bool { return standby.said("standing by") == 1 }, leader, standby)
	asked := standby.requests.Load()

	leader.end(syscall.SIGKILL)
	began := time.Now()
	id := b.sim.IDs("calls", 0, 1, 1)[0]
	must(t, b.sim.Update("calls", id, map[string]string{"hs_call_title": "after the crash"}))
	await(t, "the change in the log", 20*time.Second, func() bool {
		v, _ := b.states("calls")[id].Properties.Get("hs_call_title")
		return v == "after the crash"
	}, standby)
	t.Logf("kill -9: the standby appended after %s; it had asked HubSpot %d times before", time.Since(began).Round(time.Millisecond), asked)
	if asked > 2 { // which portal the token belongs to
		t.Errorf("%d requests of a standby", asked)
	}
	b.requireComplete(standby)
}

func TestAStoppedLeaderHandsOverWithinTwoSeconds(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 500, Contacts: 300, IndexLag: quickIndex}, crashConfig)
	leader := b.startProcess()
	await(t, "it leads and has read everything", longest, func() bool { return b.completeThrough(time.Time{}) }, leader)
	standby := b.startProcess()
	await(t, "the other stands by", longest, func() bool { return standby.said("standing by") == 1 }, leader, standby)
	leader.end(syscall.SIGTERM)
	began := time.Now()
	await(t, "the other leads", 20*time.Second, func() bool { return standby.leads() == 1 }, standby)
	took := time.Since(began)
	t.Logf("graceful stop: the standby led after %s", took.Round(time.Millisecond))
	if took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	b.requireComplete(standby)
}

// TestAPausedLeaderThatWakesUpCannotWrite stops the leader in the middle of a full read and of changes, so that it wakes
// up with pages in its hands, long after another took over.
func TestAPausedLeaderThatWakesUpCannotWrite(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 12_000, Contacts: 2000, Latency: 50 * time.Millisecond, IndexLag: quickIndex}, crashConfig)
	b.leaseTTL(5 * time.Second)
	leader, other := b.startProcess(), b.startProcess()
	await(t, "one leads, one stands by", longest, func() bool {
		return leader.leads()+other.leads() == 1 && leader.said("standing by")+other.said("standing by") == 1
	}, leader, other)
	if other.leads() == 1 {
		leader, other = other, leader
	}
	stopChanges := b.changes("calls", 5*time.Millisecond)
	defer stopChanges()
	for round := range 3 {
		await(t, "the leader appends", longest, func() bool { return len(b.states("calls")) > 200 }, leader, other)
		turn := other.leads()
		leader.signal(syscall.SIGSTOP)
		if status, err := ReadStatus(t.Context(), b.js, "HUBSPOT", ""); round == 0 && (err != nil || status.Objects[0].Cursor.Backfill == nil) {
			t.Errorf("it was not stopped in the middle of a full read (%v)", err)
		}
		await(t, "the other leads", longest, func() bool { return other.leads() > turn }, leader, other)
		moved := b.lastCursors()
		await(t, "the other goes on where the leader was", longest, func() bool {
			for object, c := range b.lastCursors() {
				if c == moved[object] {
					return false
				}
			}
			return true
		}, leader, other)
		told := leader.said("another source leads")
		leader.signal(syscall.SIGCONT)
		await(t, "it learns who leads", longest, func() bool { return leader.said("another source leads") > told }, leader, other)
		if round == 0 {
			await(t, "its batch is refused", longest, func() bool { return leader.said("batch refused") > 0 }, leader, other)
		}
		// The other, as a rule: on a busy machine it can lose the lease in its turn.
		await(t, "one leads", longest, func() bool { return leader.leading() != other.leading() }, leader, other)
		if other.leading() {
			leader, other = other, leader
		}
	}
	stopChanges()
	t.Logf("batches of woken leaders that were refused: %d", leader.said("batch refused")+other.said("batch refused"))
	b.requireComplete(leader, other)
}

// lastCursors returns the sequence of every object's cursor.
func (b *sourceBundle) lastCursors() map[string]time.Time {
	b.t.Helper()
	status, err := ReadStatus(b.t.Context(), b.js, "HUBSPOT", "")
	must(b.t, err)
	cursors := map[string]time.Time{}
	for _, o := range status.Objects {
		cursors[o.Object] = o.Cursor.At
	}
	return cursors
}

func TestOfTwoSourcesStartedTogetherOneReads(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 3000, Contacts: 500, IndexLag: quickIndex}, crashConfig)
	all := []*sourceProcess{b.startProcess(), b.startProcess(), b.startProcess()}
	await(t, "everything was read", longest, func() bool { return b.completeThrough(time.Time{}) }, all...)
	stopChanges := b.changes("calls", 20*time.Millisecond)
	await(t, "many polls", longest, func() bool { return b.requests("search calls") > 100 }, all...)
	stopChanges()
	readers := 0
	for _, p := range all {
		if n := p.requests.Load(); n > 2 { // which portal the token belongs to
			readers++
			t.Logf("the leader asked HubSpot %d times", n)
		} else {
			t.Logf("a standby asked HubSpot %d times", n)
		}
	}
	equal(t, "sources that read", readers, 1)
	b.requireComplete(all...)
}

// TestThreeSourcesWithRandomKillsLoseAndDoubleNothing kills, stops, pauses and restarts, the leader more often than others.
func TestThreeSourcesWithRandomKillsLoseAndDoubleNothing(t *testing.T) {
	t.Parallel()
	b := setupSource(t, simulator.Options{Calls: 6000, Contacts: 1500, Latency: 10 * time.Millisecond, IndexLag: quickIndex}, crashConfig)
	b.leaseTTL(3 * time.Second)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	all := []*sourceProcess{b.startProcess(), b.startProcess(), b.startProcess()}
	stopChanges := b.changes("calls", 5*time.Millisecond)
	defer stopChanges()
	ends := 0
	var pauses sync.WaitGroup
	for range 10 {
		target := b.lastSeq() + 1 + uint64(rnd.IntN(200))
		await(t, "the log grows", longest, func() bool { return b.lastSeq() > target }, all...)
		i := rnd.IntN(len(all))
		if leader := slices.IndexFunc(all, (*sourceProcess).leading); leader >= 0 && rnd.IntN(2) == 0 {
			i = leader
		}
		if all[i].leading() {
			ends++
		}
		switch p := all[i]; rnd.IntN(3) {
		case 0:
			p.end(syscall.SIGKILL)
			all[i] = b.startProcess()
		case 1:
			p.end(syscall.SIGTERM)
			all[i] = b.startProcess()
		case 2:
			p.signal(syscall.SIGSTOP)
			pauses.Add(1)
			time.AfterFunc(time.Duration(rnd.IntN(3000))*time.Millisecond, func() {
				defer pauses.Done()
				_ = p.cmd.Process.Signal(syscall.SIGCONT) // it may have been killed meanwhile
			})
		}
	}
	pauses.Wait()
	stopChanges()
	t.Logf("the leader was hit %d times", ends)
	b.requireComplete(all...)
}

// lastSeq returns the last sequence of the log.
func (b *logBundle) lastSeq() uint64 {
	b.t.Helper()
	stream, err := b.js.Stream(b.t.Context(), "HUBSPOT")
	must(b.t, err)
	return stream.CachedInfo().State.LastSeq
}
