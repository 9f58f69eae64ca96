package schemas

import (
	"crypto/sha256"
	"encoding/hex"
)

// ContentHash returns the 32 hexadecimal digits that two states of a record share exactly when archived, merged-into and
// every property value are the same. UpdatedAt is not part of it.
//
// It is the first half of the SHA-256 of: "archived\n" if archived, "merged <id>\n" if merged, then the properties in
// canonical form.
func ContentHash(archived bool, mergedInto string, p Properties) string {
	h := contentHash(archived, mergedInto, p)
	return string(h[:])
}

func contentHash(archived bool, mergedInto string, p Properties) (digits [32]byte) {
	var sum [sha256.Size]byte
	if !archived && mergedInto == "" {
		sum = sha256.Sum256(p.orEmpty())
	} else {
		state := make([]byte, 0, len(p)+len(mergedInto)+32)
		if archived {
			state = append(state, "archived\n"...)
		}
		if mergedInto != "" {
			state = append(append(append(state, "merged "...), mergedInto...), '\n')
		}
		sum = sha256.Sum256(append(state, p.orEmpty()...))
	}
	hex.Encode(digits[:], sum[:len(digits)/2])
	return digits
}
