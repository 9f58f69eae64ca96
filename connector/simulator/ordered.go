package simulator

import "slices"

// entry is one record in an order: by key, then by id.
type entry struct{ key, id int64 }

func (e entry) less(f entry) bool { return e.key < f.key || (e.key == f.key && e.id < f.id) }

func compareEntries(a, b entry) int {
	switch {
	case a.less(b):
		return -1
	case b.less(a):
		return 1
	}
	return 0
}

// ordered is a sorted set of entries in chunks: adding, removing and counting below an entry stay quick at a million.
type ordered struct {
	chunks [][]entry // none empty
	n      int
}

const chunkSize = 1024

// fill sets the content from entries that are sorted already.
func (o *ordered) fill(sorted []entry) {
	sorted = slices.Clone(sorted)
	o.n, o.chunks = len(sorted), nil
	for len(sorted) > 0 {
		n := min(chunkSize/2, len(sorted))
		o.chunks = append(o.chunks, sorted[:n:n]) // a chunk moves to memory of its own when it first grows
		sorted = sorted[n:]
	}
}

// chunk returns the index of the first chunk whose last entry is not below e.
func (o *ordered) chunk(e entry) int {
	c, _ := slices.BinarySearchFunc(o.chunks, e, func(chunk []entry, e entry) int { return compareEntries(chunk[len(chunk)-1], e) })
	return c
}

func (o *ordered) add(e entry) {
	if len(o.chunks) == 0 {
		o.chunks, o.n = append(o.chunks, []entry{e}), 1
		return
	}
	c := min(o.chunk(e), len(o.chunks)-1)
	i, found := slices.BinarySearchFunc(o.chunks[c], e, compareEntries)
	if found {
		return
	}
	o.n++
	if len(o.chunks[c]) == chunkSize {
		half := append(make([]entry, 0, chunkSize), o.chunks[c][chunkSize/2:]...)
		o.chunks[c] = o.chunks[c][:chunkSize/2]
		o.chunks = slices.Insert(o.chunks, c+1, half)
		if i > chunkSize/2 {
			c, i = c+1, i-chunkSize/2
		}
	}
	o.chunks[c] = slices.Insert(o.chunks[c], i, e)
}

func (o *ordered) remove(e entry) {
	c := o.chunk(e)
	if c == len(o.chunks) {
		return
	}
	i, found := slices.BinarySearchFunc(o.chunks[c], e, compareEntries)
	if !found {
		return
	}
	o.n--
	o.chunks[c] = slices.Delete(o.chunks[c], i, i+1)
	if len(o.chunks[c]) == 0 {
		o.chunks = slices.Delete(o.chunks, c, c+1)
	}
}

// rank returns how many entries are below e.
func (o *ordered) rank(e entry) int {
	c := o.chunk(e)
	if c == len(o.chunks) {
		return o.n
	}
	n := 0
	for _, chunk := range o.chunks[:c] {
		n += len(chunk)
	}
	i, _ := slices.BinarySearchFunc(o.chunks[c], e, compareEntries)
	return n + i
}

// slice appends the entries of ranks [from, to) to dst.
func (o *ordered) slice(dst []entry, from, to int) []entry {
	for _, chunk := range o.chunks {
		if from >= to {
			break
		}
		if from >= len(chunk) {
			from, to = from-len(chunk), to-len(chunk)
			continue
		}
		dst = append(dst, chunk[from:min(to, len(chunk))]...)
		from, to = 0, to-len(chunk)
	}
	return dst
}

// each calls visit for the entries of ranks [from, to), in order, until it returns false.
func (o *ordered) each(from, to int, visit func(entry) bool) {
	for _, chunk := range o.chunks {
		if from >= to {
			return
		}
		if from >= len(chunk) {
			from, to = from-len(chunk), to-len(chunk)
			continue
		}
		for _, e := range chunk[from:min(to, len(chunk))] {
			if !visit(e) {
				return
			}
		}
		from, to = 0, to-len(chunk)
	}
}
