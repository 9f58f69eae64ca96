package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hubtail/hubtail/connector/hubspot"
)

// didYouMean returns a remark on the known name that a wrong one is likely to stand for, nothing if none is near.
func didYouMean(name string, known []string) string {
	if near := nearest(name, known); near != "" {
		return fmt.Sprintf(" (did you mean %s?)", near)
	}
	return ""
}

// nearest returns the known name that only a few letters make of a name, or that alone begins so; "" if there is none.
func nearest(name string, known []string) string {
	lower := strings.ToLower(name)
	var longer []string
	best, least := "", min(4, 1+len(name)/4)+1
	for _, k := range known {
		if d := distance(lower, strings.ToLower(k)); d < least {
			best, least = k, d
		}
		if len(lower) >= 3 && strings.HasPrefix(strings.ToLower(k), lower) {
			longer = append(longer, k)
		}
	}
	if len(longer) == 1 {
		return longer[0]
	}
	return best
}

// distance is how many letters to insert, delete, replace or swap with the next one to make b of a.
func distance(a, b string) int {
	// rows[i][j] is the distance of the first i letters of a and the first j of b.
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(replaced, rows[i-1][j]+1, rows[i][j-1]+1)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// spelled returns the name of an object type as HubSpot writes it, if it is a standard one with other capitals. In the names
// of custom ones capitals count.
func spelled(name string) string {
	lower := strings.ToLower(name)
	if _, standard := hubspot.ObjectByName(lower); standard || slices.Contains([]string{"owner", "owners", "all", "none", "pipelines"}, lower) {
		return lower
	}
	return name
}

// spelledAll spells a list of names, or of pairs of names.
func spelledAll(names []string) []string {
	for i, name := range names {
		from, to, pair := strings.Cut(name, ":")
		if names[i] = spelled(from); pair {
			names[i] += ":" + spelled(to)
		}
	}
	return names
}

// standardObjects are the names of the object types that every portal may have.
func standardObjects() []string {
	names := []string{"owners"}
	for _, o := range hubspot.Objects() {
		names = append(names, o.Name)
	}
	return names
}
