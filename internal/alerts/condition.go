package alerts

import (
	"fmt"
	"time"
)

// Condition is something that is wrong now.
type Condition struct {
	Key   string // what it is about; of the letters that a KV key may have. There is one incident per key at a time
	Title string // in a few words
	Text  string // in plain words, with what to do
	After time.Duration
	// Consequence says that it follows from another condition that holds: it keeps an incident open and opens none.
	Consequence bool
}

// incident is a condition that was told, or is to be.
type incident struct {
	Key   string    `json:"key"`
	Title string    `json:"title"`
	Text  string    `json:"text"`
	Since time.Time `json:"since"`
	Over  time.Time `json:"over,omitzero"` // when it ended

	// Told and ToldOver are the receivers that know that it began, and that it is over.
	Told     []string `json:"told,omitempty"`
	ToldOver []string `json:"told_over,omitempty"`

	By   string    `json:"by"`   // the process that looks after it
	Seen time.Time `json:"seen"` // when that last did
}

// message is what receivers are told.
type message struct {
	title, text string
	incident    *incident
}

func (w *Watcher) message(i *incident) message {
	prefix := ""
	if w.cfg.Name != "" {
		prefix = "[" + w.cfg.Name + "] "
	}
	if i.Over.IsZero() {
		return message{prefix + i.Title, i.Text + "\nSince " + i.Since.UTC().Format("2006-01-02 15:04") + " UTC.", i}
	}
	return message{prefix + "Over: " + i.Title, fmt.Sprintf("It is over. It lasted %s, from %s to %s UTC.",
		lasted(i.Over.Sub(i.Since)), i.Since.UTC().Format("2006-01-02 15:04"), i.Over.UTC().Format("15:04")), i}
}

// lasted writes a length of time as people say it.
func lasted(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d seconds", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d minutes", int(d.Minutes()))
	}
	return fmt.Sprintf("%d hours and %d minutes", int(d.Hours()), int(d.Minutes())%60)
}
