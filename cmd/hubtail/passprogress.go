package main

import (
	"context"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"github.com/hubtail/hubtail/connector"
)

// passSilent is how long a pass shows no progress where lines cannot change in place: most are over by then.
const passSilent = 10 * time.Second

// withProgress runs a pass and shows on standard error how far its full reads and their links are: bars on a terminal, else,
// if lines says so, a line now and then.
func withProgress(ctx context.Context, source *connector.Source, lines bool, pass func(context.Context) error) error {
	terminal := term.IsTerminal(int(os.Stderr.Fd()))
	if !terminal && !lines { // cron sends a mail of whatever is printed
		return pass(ctx)
	}
	p := progress{w: os.Stderr, terminal: terminal, width: stdoutWidth, last: time.Now().Add(passSilent)}
	watch, stop := context.WithCancel(ctx)
	var g errgroup.Group
	g.Go(func() error {
		tick := time.NewTicker(redraw)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				showPass(&p, source.Status())
			case <-watch.Done():
				return nil
			}
		}
	})
	err := pass(ctx)
	stop()
	_ = g.Wait() // it returns nil
	if terminal {
		showPass(&p, source.Status())
	}
	return err
}

func showPass(p *progress, all []connector.ObjectStatus) {
	var bars []bar
	var links, of int64
	for _, s := range all {
		if s.Total > 0 {
			bars = append(bars, bar{object: s.Object, done: s.Done, total: s.Total, rate: s.Rate})
		}
		if s.Links != nil && s.Links.Sweep != nil && s.Links.Sweep.DoneAt.IsZero() {
			links, of = links+s.Links.Sweep.Done, of+s.Links.Sweep.Total
		}
	}
	if of > 0 {
		bars = append(bars, bar{object: "links of", done: links, total: of})
	}
	switch missing := p.lines - len(bars); {
	case len(bars) == 0:
	case missing > 0: // the block on the screen does not shrink
		p.show(bars, make([]string, missing)...)
	default:
		p.show(bars)
	}
}
