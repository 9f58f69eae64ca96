package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"unicode"

	"golang.org/x/term"

	"github.com/urfave/cli/v2"
)

// printf writes to the command's output; a closed pipe is the reader's business.
func printf(w io.Writer, format string, args ...any) { _, _ = fmt.Fprintf(w, format, args...) }

// movesCursor reports whether a terminal may obey a character instead of showing it: what is printed is often the text of
// others. Marks that turn the direction of text (Unicode's Bidi_Control) make it read as another one.
func movesCursor(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// plain returns a message with all that a terminal would obey but ends of lines shown as what it is.
func plain(text string) string {
	var b strings.Builder
	for _, r := range strings.ToValidUTF8(text, "\uFFFD") { // a single byte may be a command, too
		if r != '\n' && r != '\t' && movesCursor(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

// newJSONEncoder returns an encoder whose strings move no cursor. encoding/json escapes only what is below a space.
func newJSONEncoder(w io.Writer) *json.Encoder { return json.NewEncoder(jsonWriter{w}) }

// jsonWriter takes whole documents: outside strings JSON has none of the characters that plain escapes.
type jsonWriter struct{ w io.Writer }

func (j jsonWriter) Write(p []byte) (int, error) {
	if _, err := io.WriteString(j.w, plain(string(p))); err != nil {
		return 0, err
	}
	return len(p), nil
}

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

// printJSON prints what a command reports, for programs.
func printJSON(c *cli.Context, v any) error {
	out := newJSONEncoder(c.App.Writer)
	out.SetIndent("", "  ")
	return out.Encode(v)
}
