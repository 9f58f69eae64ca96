package main

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// bar is the progress of one object type.
type bar struct {
	object string
	done   int64
	total  int64
	rate   float64 // records per second
	phase  string
}

// progress shows a block of lines that changes in place on a terminal, and a line now and then elsewhere.
type progress struct {
	w        io.Writer
	terminal bool
	width    func() int // of the terminal; 0 means that lines are not cut
	lines    int        // of the block on the screen
	last     time.Time
}

// plainEvery is the time between two lines of progress where lines cannot change in place.
const plainEvery = 5 * time.Second

// show draws the bars and the notes below them.
func (p *progress) show(bars []bar, notes ...string) {
	if !p.terminal {
		p.showPlain(bars)
		return
	}
	var out strings.Builder
	if p.lines > 0 {
		fmt.Fprintf(&out, "\x1b[%dA", p.lines)
	}
	width := p.width()
	for _, b := range bars {
		out.WriteString("\x1b[2K" + cut(b.String(), width) + "\n")
	}
	for _, note := range notes {
		out.WriteString("\x1b[2K" + cut(note, width) + "\n")
	}
	p.lines = len(bars) + len(notes)
	_, _ = io.WriteString(p.w, out.String())
}

func (p *progress) showPlain(bars []bar) {
	if time.Since(p.last) < plainEvery {
		return
	}
	p.last = time.Now()
	parts := make([]string, len(bars))
	for i, b := range bars {
		parts[i] = fmt.Sprintf("%s %s/%s", b.object, thousands(b.done), thousands(b.total))
	}
	printf(p.w, "%s\n", strings.Join(parts, "  "))
}

// end leaves the block as it stands.
func (p *progress) end() { p.lines, p.last = 0, time.Time{} }

const barWidth = 28

func (b bar) String() string {
	fraction := 0.0
	if b.total > 0 {
		fraction = min(float64(b.done)/float64(b.total), 1)
	}
	full := int(fraction * barWidth)
	line := fmt.Sprintf("  %-10s %s%s %7s / %-7s %3.0f%%", b.object, strings.Repeat("█", full), strings.Repeat("░", barWidth-full),
		thousands(b.done), thousands(b.total), fraction*100)
	switch {
	case b.total > 0 && b.done >= b.total:
		line += "  done"
	case b.rate >= 1:
		eta := time.Duration(float64(b.total-b.done)/b.rate) * time.Second
		line += fmt.Sprintf("  %s/s, %s left", thousands(int64(b.rate)), eta)
	case b.phase != "":
		line += "  " + b.phase
	}
	return line
}

// thousands writes 31636 as 31,636.
func thousands(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
