package connector

import (
	"slices"
	"strconv"
)

// idSet is a set of record ids: 8 bytes each, a million of them 8 MB. Adding or removing one moves those above it, which takes
// a few milliseconds in a set of a million.
type idSet struct {
	ids []int64 // ascending
}

func (s *idSet) add(id int64) {
	if n := len(s.ids); n == 0 || s.ids[n-1] < id { // as when a walk brings them
		s.ids = append(s.ids, id)
		return
	}
	if i, is := slices.BinarySearch(s.ids, id); !is {
		s.ids = slices.Insert(s.ids, i, id)
	}
}

func (s *idSet) remove(id int64) {
	if i, is := slices.BinarySearch(s.ids, id); is {
		s.ids = slices.Delete(s.ids, i, i+1)
	}
}

// between returns a copy of the ids above low, up to high.
func (s *idSet) between(low, high int64) []int64 {
	i, is := slices.BinarySearch(s.ids, low)
	if is {
		i++
	}
	j, is := slices.BinarySearch(s.ids, high)
	if is {
		j++
	}
	if j < i {
		return nil
	}
	return slices.Clone(s.ids[i:j])
}

// parseID returns a record's id as a number. HubSpot rule: ids are decimal numbers.
func parseID(id string) (int64, bool) {
	n, err := strconv.ParseInt(id, 10, 64)
	return n, err == nil && n > 0
}

func formatIDs(ids []int64) []string {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.FormatInt(id, 10)
	}
	return texts
}
