package rowbuf

// table is an index from hashes to numbers, with open addressing. A slot is the
// upper half of a hash and a number that is not 0; whether the number is the one
// that was meant says its owner.
type table struct {
	slots []uint64 // a power of two
	used  int
}

const tableMin = 64

// find calls same with the numbers of hash until it says yes, and gives that
// number, or 0.
func (t *table) find(hash uint64, same func(n uint32) bool) uint32 {
	if t.used == 0 {
		return 0
	}
	h := uint32(hash >> 32)
	mask := uint32(len(t.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := t.slots[i]
		if s == 0 {
			return 0
		}
		if uint32(s>>32) == h && same(uint32(s)) {
			return uint32(s)
		}
	}
}

// first gives the slot at which a search for hash begins.
func (t *table) first(hash uint64) uint64 {
	if len(t.slots) == 0 {
		return 0
	}
	return t.slots[uint32(hash>>32)&uint32(len(t.slots)-1)]
}

// add puts a number in, which must not be there.
func (t *table) add(hash uint64, n uint32) {
	if 8*(t.used+1) > 5*len(t.slots) {
		t.grow()
	}
	t.put(hash>>32<<32 | uint64(n))
	t.used++
}

func (t *table) put(s uint64) {
	mask := uint32(len(t.slots) - 1)
	i := uint32(s>>32) & mask
	for t.slots[i] != 0 {
		i = (i + 1) & mask
	}
	t.slots[i] = s
}

// grow doubles the table.
func (t *table) grow() {
	old := t.slots
	t.slots = make([]uint64, max(tableMin, 2*len(old)))
	for _, s := range old {
		if s != 0 {
			t.put(s)
		}
	}
}
