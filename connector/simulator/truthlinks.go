package simulator

import (
	"iter"
	"net/http"
)

// TruthLink is an association of a record with another one of a type, as the primary store has it.
type TruthLink struct {
	ID, To string
	Types  []LinkType
}

// truthLink is the same in a snapshot.
type truthLink struct {
	id   int64
	link Link
}

// linkSnapshot takes the links of all live records of one type to live records of another at one moment, ascending by both ids.
func (p *portal) linkSnapshot(from, to string) ([]truthLink, bool) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	t, ok := p.table(from)
	other, found := p.table(to)
	if !ok || !found {
		return nil, false
	}
	var all []truthLink
	t.live.each(0, t.live.n, func(e entry) bool {
		for _, l := range p.liveLinks(linkKey{t, e.id, other}) {
			all = append(all, truthLink{e.id, l})
		}
		return true
	})
	return all, true
}

// TruthLinks returns the links that reads show, of all records of one object type to those of another, as they are at the
// moment of the call; ascending by both ids.
func (s *Simulator) TruthLinks(from, to string) iter.Seq[TruthLink] {
	return func(yield func(TruthLink) bool) {
		all, _ := s.portal.linkSnapshot(from, to)
		for _, l := range all {
			if !yield(TruthLink{ID: formatID(l.id), To: formatID(l.link.To), Types: l.link.Types}) {
				return
			}
		}
	}
}

// controlTruthLinks streams TruthLinks, a line each.
func (s *Simulator) controlTruthLinks(w http.ResponseWriter, r *http.Request) {
	all, ok := s.portal.linkSnapshot(r.PathValue("object"), r.PathValue("to"))
	if !ok {
		answer(w, nil, ErrNotFound)
		return
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	var buf []byte
	for i, l := range all {
		buf = appendInt(append(buf, `{"id":"`...), l.id)
		buf = appendInt(append(buf, `","to":"`...), l.link.To)
		buf = append(buf, `","types":[`...)
		for k, t := range l.link.Types {
			if k > 0 {
				buf = append(buf, ',')
			}
			buf = appendLinkType(buf, t)
		}
		buf = append(buf, "]}\n"...)
		if len(buf) > 64<<10 || i == len(all)-1 {
			if _, err := w.Write(buf); err != nil {
				return
			}
			buf = buf[:0]
		}
	}
}
