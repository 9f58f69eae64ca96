package alerts

import (
	"fmt"
	"slices"
	"time"
)

// Condition is something that is wrong now.
type Condition struct {
	Key   string // what it is about; of the letters that a KV key may have. There is one incident per key at a time
	Title string // in a few words
	Text  string // in plain words, with what to do
	After time.Duration
	// Items are what it is about, if that may be several things: what joins them while an incident is open is told, too, once
	// each and at most once an hour.
	Items []string
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

	Items   []string  `json:"items,omitempty"`  // that were told, or are to be
	Joined  []string  `json:"joined,omitempty"` // the last of them, which joined later
	Changed time.Time `json:"changed,omitzero"` // when Items were last added to
	Behind  []string  `json:"behind,omitempty"` // receivers that know that it began, and not of Joined

	// Told and ToldOver are the receivers that know that it began, and that it is over.
	Told     []string `json:"told,omitempty"`
	ToldOver []string `json:"told_over,omitempty"`

	By   string    `json:"by"`   // the process that looks after it
	Seen time.Time `json:"seen"` // when that last did
}

// updateEvery is how often what joins an open incident is told: things that fail one after the other are one message or two.
const updateEvery = time.Hour

// join takes note of what the condition is about by now and was not when it was told.
func (i *incident) join(c Condition, now time.Time) {
	if i.Changed.IsZero() { // of an earlier version, which did not know what it told
		i.Items, i.Changed = slices.Clone(c.Items), now
	}
	if !i.Over.IsZero() || c.Consequence || now.Sub(i.Changed) < updateEvery {
		return
	}
	var joined []string
	for _, item := range c.Items {
		if !slices.Contains(i.Items, item) {
			joined = append(joined, item)
		}
	}
	if len(joined) > 0 {
		i.Items, i.Joined, i.Changed, i.Text = append(i.Items, joined...), joined, now, c.Text
		i.Behind = slices.Clone(i.Told)
	}
}

// told takes note of a receiver that got the message.
func (i *incident) told(id string) {
	switch {
	case !i.Over.IsZero():
		i.ToldOver = append(i.ToldOver, id)
	case slices.Contains(i.Told, id):
		i.Behind = slices.DeleteFunc(i.Behind, func(behind string) bool { return behind == id })
	default:
		i.Told = append(i.Told, id)
	}
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
		if len(i.Joined) > 0 {
			prefix += "More: "
		}
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
