package simulator

// identities are the ids and times of an object type's base records: sparse, ascending with the index, and computed,
// not stored. As in a grown portal they lie in three stretches, small old ids, then large ones, then very large ones with
// wide gaps, so that an even cut of the id range is not an even cut of the records.
type identities struct {
	seed    uint64
	n       int
	stretch [3]stretch
}

// stretch is a run of ids: record i of it has an id in [start + i*stride, start + (i+1)*stride).
type stretch struct {
	first, n      int
	start, stride int64
}

func newIdentities(seed uint64, n int) identities {
	ids := identities{seed: seed, n: n}
	a, b := n/4, n*7/10
	offset := int64(mix(seed) % 50_000)
	ids.stretch = [3]stretch{
		{0, a, 1_051 + offset, 53},
		{a, b - a, 3_100_000_000 + offset, 1_787},
		{b, n - b, 105_000_000_000 + offset, 391_003},
	}
	return ids
}

// id returns the id of base record i.
func (ids *identities) id(i int) int64 {
	s := &ids.stretch[2]
	for s.first > i {
		s = &ids.stretch[0]
		if i >= ids.stretch[1].first {
			s = &ids.stretch[1]
		}
	}
	return s.start + int64(i-s.first)*s.stride + int64(ids.hash(i)%uint64(s.stride))
}

// index returns the position of the base record with an id, or -1.
func (ids *identities) index(id int64) int {
	for k := 2; k >= 0; k-- {
		s := &ids.stretch[k]
		if id < s.start || s.n == 0 {
			continue
		}
		i := s.first + int((id-s.start)/s.stride)
		if i < s.first+s.n && ids.id(i) == id {
			return i
		}
		return -1
	}
	return -1
}

func (ids *identities) hash(i int) uint64 { return mix(ids.seed + uint64(i)*0x9e3779b97f4a7c15) }

// importSize is how many neighbouring records an import touched; a quarter of them still carry its millisecond.
const importSize = 2000

// times returns when base record i was created and last modified, in epoch ms. Creation follows the index only roughly.
func (ids *identities) times(i int) (created, modified int64) {
	h := ids.hash(i)
	span := lastCreated - firstDay - 31*day
	at := func(i int) int64 { return firstDay + int64(float64(span)*float64(i)/float64(max(ids.n, 1))) }
	created = at(i) + int64(h>>8)%(30*day)
	if h>>60 < 4 {
		imported := at(min((i/importSize+1)*importSize, ids.n)) + 30*day
		return created, imported
	}
	return created, created + int64(mix(h)%uint64(lastModified-created))
}

// allocator hands out the ids of records made later. It shuffles them within small blocks, so that a newer record often
// has the smaller id.
type allocator struct {
	seed  uint64
	start int64
	used  int64
}

const allocatorBlock = 8

func (a *allocator) next() int64 {
	block, i := a.used/allocatorBlock, a.used%allocatorBlock
	a.used++
	const stride = 977
	rotation := int64(mix(a.seed^uint64(block)) % allocatorBlock)
	slot := block*allocatorBlock + (i*5+rotation)%allocatorBlock
	return a.start + slot*stride + int64(mix(a.seed+uint64(slot))%stride)
}
