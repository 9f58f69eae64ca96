package simulator

// mix spreads x over all 64 bits (the finalizer of splitmix64). Base data is made of it: a value is a pure function of
// the seed, the record and the property.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// hashText is FNV-1a, finished with mix.
func hashText(s string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 0x100000001b3
	}
	return mix(h)
}

// percent says whether a hash falls into the first n of 100 parts.
func percent(h uint64, n int) bool { return h < share(float64(n)/100) }

// share returns the threshold below which the given share of all hashes lies.
func share(f float64) uint64 {
	if f >= 1 {
		return ^uint64(0)
	}
	return uint64(f * (1 << 63) * 2)
}
