package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// printf writes to the command's output; a closed pipe is the reader's business.
func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// readWriter is an output that notices when nobody reads it any longer.
type readWriter struct {
	w      io.Writer
	unread chan struct{} // closed by the first write that fails
	once   sync.Once
}

func newReadWriter(w io.Writer) *readWriter {
	return &readWriter{w: w, unread: make(chan struct{})}
}

func (r *readWriter) Write(p []byte) (int, error) {
	n, err := r.w.Write(p)
	if err != nil {
		r.once.Do(func() { close(r.unread) })
	}
	return n, err
}

// stdoutWidth is the width of the terminal at the moment, 0 if it is none: people resize it.
func stdoutWidth() int {
	width, _, err := term.GetSize(int(os.Stdout.Fd()))
	if err != nil {
		return 0
	}
	return width
}

// cut shortens a line to width characters; 0 means any. A line that a terminal wraps takes two of its rows, and a block
// that is drawn anew in place would leave its first ones behind.
func cut(line string, width int) string {
	if width <= 0 || len(line) <= width {
		return line
	}
	n := 0
	for i := range line {
		if n == width {
			return line[:i]
		}
		n++
	}
	return line
}
