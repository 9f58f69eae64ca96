package simulator

import "strconv"

// subject is the record whose base values are being made.
type subject struct {
	table             *table
	id                int64
	index             int // position in the base data, -1 for records made later
	seed              uint64
	created, modified int64
}

// generator appends a property's base value of a record; h is a hash of both.
type generator func(dst []byte, s *subject, h uint64) []byte

// has says whether the record has a base value for p, and the hash to make it from.
func (s *subject) has(p *property) (uint64, bool) {
	if p.make == nil {
		return 0, false
	}
	h := mix(s.seed ^ p.seed)
	return h, h <= p.fill
}

// moment returns a time between the record's creation and its last change.
func (s *subject) moment(h uint64) int64 {
	span := s.modified - s.created
	if span <= 0 {
		return s.created
	}
	return s.created + int64(mix(h)%uint64(span))
}

func (s *subject) first() string { return pick(firstNames, mix(s.seed^1)) }
func (s *subject) last() string  { return pick(lastNames, mix(s.seed^2)) }

func (s *subject) appendEmail(dst []byte) []byte {
	dst = append(dst, pick(asciiFirst, mix(s.seed^1))...)
	dst = append(dst, '.')
	dst = strconv.AppendInt(dst, s.id, 36)
	dst = append(dst, '@')
	return s.appendDomain(dst)
}

func (s *subject) appendDomain(dst []byte) []byte {
	seed := mix(s.seed ^ 3)
	c := pick(companies, seed)
	dst = append(dst, c[0]|0x20)
	dst = append(dst, c[1:]...)
	dst = strconv.AppendUint(dst, seed>>32%97, 10)
	return append(dst, ".example"...)
}

func (s *subject) appendCompany(dst []byte) []byte {
	seed := mix(s.seed ^ 3)
	dst = append(dst, pick(companies, seed)...)
	dst = append(dst, ' ')
	dst = strconv.AppendUint(dst, seed>>32%97, 10)
	dst = append(dst, ' ')
	return append(dst, pick(suffixes, seed>>8)...)
}

func appendPhone(dst []byte, h uint64) []byte {
	dst = append(dst, "+49 30 "...)
	return strconv.AppendUint(dst, 1_000_000+h>>20%9_000_000, 10)
}

func appendWords(dst []byte, h uint64, n int) []byte {
	for i := range n {
		if i > 0 {
			dst = append(dst, ' ')
		}
		h = mix(h + uint64(i))
		dst = append(dst, pick(words, h)...)
	}
	return dst
}
