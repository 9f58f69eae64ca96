package simulator

import (
	"strconv"
	"strings"
)

// recipe says how often a property has a base value and how it is made.
type recipe struct {
	percent int
	make    generator
	unsafe  bool // values need JSON escaping
}

// usual is how often properties without a recipe of their own are filled: in 1 % of records, so that about 45 of a contact's properties have
// a value, as observed.
const usual = 1

// prepare attaches the base values to a definition.
func prepare(p *property, t *table) {
	p.plain, p.fill = true, share(usual/100.0)
	switch p.Name {
	case "hs_object_id":
		p.system = systemID
		return
	case t.object.CreatedProperty:
		p.system = systemCreated
		return
	case t.object.ModifiedProperty:
		p.system = systemModified
		return
	case "hs_lastmodifieddate", "hs_merged_object_ids", "lastmodifieddate":
		return // contacts have a definition of the first and no values
	}
	if r, ok := recipes[t.object.Name+"."+p.Name]; ok {
		p.make, p.fill, p.plain = r.make, share(float64(r.percent)/100), !r.unsafe
		return
	}
	if r, ok := recipes[p.Name]; ok {
		p.make, p.fill, p.plain = r.make, share(float64(r.percent)/100), !r.unsafe
		return
	}
	p.make = byType(p)
}

// byType makes values that fit a definition's type.
func byType(p *property) generator {
	switch p.Type {
	case "number":
		if strings.Contains(p.Name, "amount") || strings.Contains(p.Name, "revenue") || strings.Contains(p.Name, "price") {
			return genMoney
		}
		return func(dst []byte, _ *subject, h uint64) []byte { return strconv.AppendUint(dst, mix(h)%1000, 10) }
	case "bool":
		return func(dst []byte, _ *subject, h uint64) []byte { return strconv.AppendBool(dst, mix(h)&1 == 0) }
	case "datetime":
		return genMoment
	case "date":
		return func(dst []byte, s *subject, h uint64) []byte { return appendDate(dst, s.moment(h)) }
	case "phone_number":
		return genPhone
	case "json":
		return nil
	case "enumeration":
		return enumerated(p)
	default:
		return func(dst []byte, _ *subject, h uint64) []byte { return appendWords(dst, h, 1+int(h%3)) }
	}
}

// enumerated picks among the options; several, joined by ";", where more than one may be chosen.
func enumerated(p *property) generator {
	options := p.Options
	if len(options) == 0 {
		return nil
	}
	several := p.FieldType == "checkbox"
	return func(dst []byte, _ *subject, h uint64) []byte {
		h = mix(h)
		i := int(h % uint64(len(options)))
		dst = append(dst, options[i].Value...)
		if several && h>>40&1 == 0 && i+1 < len(options) {
			dst = append(dst, ';')
			dst = append(dst, options[i+1].Value...)
		}
		return dst
	}
}

func genMoment(dst []byte, s *subject, h uint64) []byte { return appendTime(dst, s.moment(h)) }
func genPhone(dst []byte, _ *subject, h uint64) []byte  { return appendPhone(dst, mix(h)) }
func genCity(dst []byte, s *subject, _ uint64) []byte {
	return append(dst, pick(cities, mix(s.seed^4))...)
}
func genCountry(dst []byte, s *subject, _ uint64) []byte {
	return append(dst, pick(countries, mix(s.seed^5))...)
}

func genMoney(dst []byte, _ *subject, h uint64) []byte {
	cents := mix(h) % 100_000_000
	dst = strconv.AppendUint(dst, cents/100, 10)
	if cents%4 != 0 {
		return dst
	}
	return append(dst, '.', byte('0'+cents/10%10), byte('1'+cents%9))
}

func genDomain(dst []byte, s *subject, _ uint64) []byte  { return s.appendDomain(dst) }
func genCompany(dst []byte, s *subject, _ uint64) []byte { return s.appendCompany(dst) }
func genFirst(dst []byte, s *subject, _ uint64) []byte   { return append(dst, s.first()...) }
func genLast(dst []byte, s *subject, _ uint64) []byte    { return append(dst, s.last()...) }
func genEmail(dst []byte, s *subject, _ uint64) []byte   { return s.appendEmail(dst) }

func genFullName(dst []byte, s *subject, _ uint64) []byte {
	return append(append(append(dst, s.first()...), ' '), s.last()...)
}

func genWebsite(dst []byte, s *subject, _ uint64) []byte {
	return s.appendDomain(append(dst, "https://www."...))
}

func genAddress(dst []byte, _ *subject, h uint64) []byte {
	dst = append(append(dst, pick(streets, mix(h))...), ' ')
	return strconv.AppendUint(dst, 1+h%240, 10)
}

func genZip(dst []byte, _ *subject, h uint64) []byte {
	s := strconv.FormatUint(mix(h)%100_000, 10)
	return append(append(dst, "00000"[len(s):]...), s...) // leading zeros are part of the value
}

func genOwner(dst []byte, s *subject, h uint64) []byte {
	if n := s.table.portal.ownerCount; n > 0 {
		return strconv.AppendInt(dst, ownerID(int(mix(h)%uint64(n))), 10)
	}
	return dst
}

func genUser(dst []byte, s *subject, h uint64) []byte {
	if n := s.table.portal.ownerCount; n > 0 {
		return strconv.AppendInt(dst, userID(int(mix(h)%uint64(n))), 10)
	}
	return dst
}

func genSentence(dst []byte, _ *subject, h uint64) []byte { return appendWords(dst, h, 8) }

func genText(dst []byte, _ *subject, h uint64) []byte {
	dst = appendWords(dst, h, 6)
	dst = append(dst, ".\n\"Second line\", she said:\t"...)
	return appendWords(dst, ^h, 9+int(h%9))
}

func genHTML(dst []byte, _ *subject, h uint64) []byte {
	dst = append(dst, `<p style="margin:0">`...)
	dst = appendWords(dst, h, 10)
	return append(dst, `</p>`...)
}

func genUUID(dst []byte, _ *subject, h uint64) []byte { return appendUUID(dst, h) }

func genTitle(dst []byte, _ *subject, h uint64) []byte { return append(dst, pick(jobs, mix(h))...) }

func genDealName(dst []byte, s *subject, h uint64) []byte {
	dst = append(s.appendCompany(dst), " - "...)
	return appendWords(dst, h, 2)
}

// fixed makes every value the same.
func fixed(text string) generator {
	return func(dst []byte, _ *subject, _ uint64) []byte { return append(dst, text...) }
}

// below makes whole numbers from 0 to n-1.
func below(n uint64) generator {
	return func(dst []byte, _ *subject, h uint64) []byte { return strconv.AppendUint(dst, mix(h)%n, 10) }
}

// oneOf picks a value from a list.
func oneOf(values ...string) generator {
	return func(dst []byte, _ *subject, h uint64) []byte { return append(dst, pick(values, mix(h))...) }
}
