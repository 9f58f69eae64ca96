package connector

import "github.com/hubtail/hubtail/schemas"

// span is a range of ids still to be read, with what is known about it.
type span struct {
	schemas.Range
	object    *objectPlan
	count     float64       // records in it, as far as known
	exact     bool          // search counted it
	low, high float64       // records per id at its start and at its end, 0 if unknown
	known     bool          // an answer told something about it
	ended     schemas.Range // in which list, alone, found nothing, when last asked
	list      *pageRequest
	search    *pageRequest
}

// left returns the records that no request in flight will bring.
func (s *span) left() float64 {
	n := s.count
	if s.list != nil {
		n -= listPage
	}
	if s.search != nil {
		n -= searchPage
	}
	return n
}

func (s *span) idle() bool { return s.list == nil && s.search == nil }

// middle returns the id where the records left are likely cut in half: as far from either end as the record density
// there says. Ids may be skewed; a point in a gap is fine, since a list jumps over it.
func (s *span) middle(density float64) int64 {
	below, above := s.left()/2, s.left()/2
	if s.list != nil {
		below += listPage
	}
	if s.search != nil {
		above += searchPage
	}
	low, high := s.low, s.high
	if low == 0 && high == 0 {
		high = density // where records begin is not known, where they end is
	}
	var sum, n float64
	if p := below / low; low > 0 && p < s.width() {
		sum, n = sum+p, n+1
	}
	if p := above / high; high > 0 && p < s.width() {
		sum, n = sum+s.width()-p, n+1
	}
	if n == 0 {
		sum, n = s.width()/2, 1
	}
	return min(max(s.From+int64(sum/n), s.From+1), s.To-1)
}

func (s *span) width() float64 { return float64(s.To) - float64(s.From) }

// even reports whether records are about as dense at the span's start as at its end: then they likely are in between.
func (s *span) even() bool { return s.low > 0 && s.high > 0 && s.low < 2*s.high && s.high < 2*s.low }
