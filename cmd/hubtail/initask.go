package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// asker asks on a terminal. A nil one is for scripts: nobody is asked.
type asker struct {
	terminal *term.Terminal
	restore  func()
}

// newAsker returns nil unless both ends are a terminal. The terminal is raw until close: it then edits lines by itself, and
// Ctrl-C is a key.
func newAsker(ctx context.Context, in, out *os.File) (*asker, error) {
	if !term.IsTerminal(int(in.Fd())) || !term.IsTerminal(int(out.Fd())) {
		return nil, nil //nolint:nilnil // nobody to ask is no error
	}
	before, err := term.MakeRaw(int(in.Fd()))
	if err != nil {
		return nil, fmt.Errorf("prepare the terminal: %w", err)
	}
	a := &asker{terminal: term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, out}, "")}
	if width, height, err := term.GetSize(int(out.Fd())); err == nil && width > 0 {
		_ = a.terminal.SetSize(width, height) // else it is taken to have 80 columns
	}
	back := func() { _ = term.Restore(int(in.Fd()), before) } // it is what it was, or gone
	stop := context.AfterFunc(ctx, back)
	a.restore = func() {
		stop()
		back()
	}
	return a, nil
}

// close gives the terminal back. It may be called more than once.
func (a *asker) close() {
	if a != nil {
		a.restore()
	}
}

// Write prints between questions.
func (a *asker) Write(p []byte) (int, error) { return a.terminal.Write(p) }

// line asks a question and returns the answer, preset if there is none. A secret is not shown.
func (a *asker) line(question, preset string, secret bool) (answer string, err error) {
	prompt := question
	if preset != "" {
		prompt, _, _ = strings.Cut(question, " (Enter for") // which is something else then
	}
	switch {
	case preset != "" && secret:
		prompt += " [as it is]"
	case preset != "":
		prompt += " [" + preset + "]"
	}
	prompt += ": "
	if secret {
		answer, err = a.terminal.ReadPassword(prompt)
	} else {
		a.terminal.SetPrompt(prompt)
		answer, err = a.terminal.ReadLine()
		a.terminal.SetPrompt("")
	}
	if errors.Is(err, io.EOF) { // Ctrl-C or Ctrl-D
		return "", context.Canceled
	}
	if errors.Is(err, term.ErrPasteIndicator) {
		err = nil
	}
	if answer == "" {
		answer = preset
	}
	return answer, err
}
