package hubspot

import (
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/hubtail/hubtail/schemas"
)

// Page is one page of a list.
type Page struct {
	Records  []Record
	Rejected []RejectedRecord
	Next     string // cursor of the next page, "" on the last
}

// SearchPage is one page of a search.
type SearchPage struct {
	Records  []Record
	Rejected []RejectedRecord
	Total    int // matches of the whole query
	Next     int // offset of the next page, 0 on the last
}

// answer is what list, search and batch read have in common.
type answer struct {
	records  []Record
	rejected []RejectedRecord
	after    string
	total    int
	problems []problem
}

// problem is one entry of the errors of a 207 answer.
type problem struct {
	Category    string `json:"category"`
	SubCategory string `json:"subCategory"`
	Message     string `json:"message"`
	ids         []string
}

// ReadPage reads the body of a list answer. The records do not refer to body, which may be used again.
//
// A body that is not JSON, is cut, is not UTF-8 or has no results is an error, never an empty page.
func ReadPage(object Object, body []byte) (Page, error) {
	a, err := readAnswer(object, body)
	if err != nil {
		return Page{}, err
	}
	return Page{Records: a.records, Rejected: a.rejected, Next: a.after}, nil
}

func readSearchPage(object Object, body []byte) (SearchPage, error) {
	a, err := readAnswer(object, body)
	if err != nil {
		return SearchPage{}, err
	}
	p := SearchPage{Records: a.records, Rejected: a.rejected, Total: a.total}
	if a.after != "" {
		if p.Next, err = strconv.Atoi(a.after); err != nil {
			return SearchPage{}, fmt.Errorf("read page: offset %q of the next page is not a number", a.after)
		}
	}
	return p, nil
}

var errNoResults = errors.New("answer has no results")

// readAnswer reads the whole answer in one pass. Only if something is wrong in a record it starts over, more slowly, record
// by record, so that one bad record does not take the others with it.
func readAnswer(object Object, body []byte) (answer, error) {
	if !utf8.Valid(body) {
		return answer{}, errors.New("read page: invalid UTF-8")
	}
	a, ok, err := readFast(object, body)
	if !ok {
		a, err = readCarefully(object, body)
	}
	if err != nil {
		return answer{}, fmt.Errorf("read page: %w", err)
	}
	return a, nil
}

func readFast(object Object, body []byte) (a answer, ok bool, err error) {
	s := schemas.NewScanner(body)
	// An answer is little more than its records' properties, and without its nulls it only shrinks.
	r := recordReader{object: object, arena: make([]byte, 0, len(body)-len(body)/16)}
	ok = true
	err = a.read(s, len(body), func() {
		if !ok {
			s.Skip()
			return
		}
		rec, err := r.read(s)
		if err != nil || s.Err() != nil {
			ok = false
			return
		}
		a.records = append(a.records, rec)
	})
	return a, ok && s.Err() == nil, err
}

func readCarefully(object Object, body []byte) (a answer, err error) {
	s := schemas.NewScanner(body)
	r := recordReader{object: object}
	err = a.read(s, len(body), func() {
		raw := s.Raw()
		if s.Err() != nil {
			return
		}
		one := schemas.NewScanner(raw)
		rec, err := r.read(one)
		if err == nil {
			err = one.Err() // for example an object as property value
		}
		if err == nil {
			a.records = append(a.records, rec)
			return
		}
		if len(raw) > maxRaw {
			raw = raw[:maxRaw]
		}
		a.rejected = append(a.rejected, RejectedRecord{ID: rec.ID, Reason: err.Error(), Raw: string(raw)})
	})
	return a, err
}

// read reads the envelope of an answer of the given size and calls record before each element of results.
func (a *answer) read(s *schemas.Scanner, size int, record func()) error {
	results := false
	s.Object(func(key []byte) {
		switch string(key) {
		case "results":
			results = s.Peek() == '['
			if a.records == nil {
				a.records = make([]Record, 0, 100)
			}
			s.Array(record)
		case "paging":
			a.after = readAfter(s)
		case "total":
			a.total, _ = strconv.Atoi(string(s.Raw()))
		case "errors":
			s.Array(func() { a.problems = append(a.problems, readProblem(s)) })
		default:
			s.Skip()
		}
	})
	if s.Err() != nil {
		return s.Err()
	}
	if s.Peek(); s.Pos() != size {
		return fmt.Errorf("json offset %d: text after the answer", s.Pos())
	}
	if !results {
		return errNoResults
	}
	return nil
}

// readAfter reads {"next":{"after":"..."}} or null.
func readAfter(s *schemas.Scanner) (after string) {
	if s.Peek() == 'n' {
		s.Skip()
		return ""
	}
	s.Object(func(key []byte) {
		if string(key) != "next" || s.Peek() == 'n' {
			s.Skip()
			return
		}
		s.Object(func(key []byte) {
			if string(key) == "after" {
				after = s.Text()
				return
			}
			s.Skip()
		})
	})
	return after
}

// readProblem reads one entry of errors with every id its context names.
func readProblem(s *schemas.Scanner) (p problem) {
	s.Object(func(key []byte) {
		switch string(key) {
		case "category":
			p.Category = s.Text()
		case "subCategory":
			p.SubCategory = s.Text()
		case "message":
			p.Message = s.Text()
		case "context":
			if s.Peek() != '{' {
				s.Skip()
				return
			}
			s.Object(func(key []byte) {
				if k := string(key); k != "ids" && k != "id" && k != "fromObjectId" || s.Peek() != '[' {
					s.Skip()
					return
				}
				s.Array(func() { p.ids = append(p.ids, s.Text()) })
			})
		default:
			s.Skip()
		}
	})
	return p
}
