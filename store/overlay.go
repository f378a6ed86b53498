package store

import (
	"bytes"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// overlay finds the newest write of each key of a batch, so that a machine sees
// what it wrote. It points into the batch's own bytes and copies nothing;
// Pebble's indexed batch costs a skip list insert per write instead.
type overlay struct {
	slots []slot // open addressing, a power of two
	used  int
}

// slot is one key. Offsets are into the batch; keyLen 0 marks a free slot.
type slot struct {
	hash   uint32
	keyOff uint32
	valOff uint32 // of the value; 0 after a delete
	keyLen uint16
	valLen uint32
}

type rowState uint8

const (
	absent  rowState = iota // not written by this batch
	present                 // set
	deleted
)

const (
	overlayMin  = 64
	overlayKeep = 8 << 10 // slots kept from batch to batch
)

// find gives the slot of key, or the free one where it belongs.
func (o *overlay) find(repr, key []byte) *slot {
	h := uint32(xxhash.Sum64(key))
	mask := uint32(len(o.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		s := &o.slots[i]
		if s.keyLen == 0 {
			s.hash = h
			return s
		}
		if s.hash == h && bytes.Equal(s.key(repr), key) {
			return s
		}
	}
}

func (s *slot) key(repr []byte) []byte { return repr[s.keyOff : s.keyOff+uint32(s.keyLen)] }

func (s *slot) val(repr []byte) []byte {
	return repr[s.valOff : s.valOff+s.valLen : s.valOff+s.valLen]
}

func (o *overlay) get(repr, key []byte) ([]byte, rowState) {
	if o.used == 0 || len(key) == 0 {
		return nil, absent
	}
	s := o.find(repr, key)
	switch {
	case s.keyLen == 0:
		return nil, absent
	case s.valOff == 0:
		return nil, deleted
	}
	return s.val(repr), present
}

// set records that the batch ends with a set of key to a value of valLen bytes.
func (o *overlay) set(repr, key []byte, valLen int) {
	s := o.take(repr, key)
	s.valLen = uint32(valLen)
	s.valOff = uint32(len(repr) - valLen)
	s.keyLen = uint16(len(key))
	s.keyOff = s.valOff - uint32(uvarintLen(uint64(valLen))) - uint32(len(key))
}

// del records that the batch ends with a delete of key.
func (o *overlay) del(repr, key []byte) {
	s := o.take(repr, key)
	s.valOff, s.valLen = 0, 0
	s.keyLen = uint16(len(key))
	s.keyOff = uint32(len(repr) - len(key))
}

func (o *overlay) take(repr, key []byte) *slot {
	if 2*(o.used+1) > len(o.slots) {
		o.grow()
	}
	s := o.find(repr, key)
	if s.keyLen == 0 {
		o.used++
	}
	return s
}

func (o *overlay) grow() {
	old := o.slots
	o.slots = make([]slot, max(overlayMin, 2*len(old)))
	mask := uint32(len(o.slots) - 1)
	for _, s := range old {
		if s.keyLen == 0 {
			continue
		}
		i := s.hash & mask
		for o.slots[i].keyLen != 0 {
			i = (i + 1) & mask
		}
		o.slots[i] = s
	}
}

// reset forgets everything and reports whether the table had become too large
// to keep.
func (o *overlay) reset() (large bool) {
	if len(o.slots) > overlayKeep {
		*o = overlay{}
		return true
	}
	if o.used > 0 {
		clear(o.slots)
		o.used = 0
	}
	return false
}

// ownRow is one write of a batch, in the order of keys.
type ownRow struct {
	key, val []byte
	deleted  bool
}

// within gives the batch's writes in [lower, upper) in the order of the scan.
func (o *overlay) within(repr, lower, upper []byte, reverse bool) []ownRow {
	if o.used == 0 {
		return nil
	}
	var rows []ownRow
	for i := range o.slots {
		s := &o.slots[i]
		if s.keyLen == 0 {
			continue
		}
		k := s.key(repr)
		if bytes.Compare(k, lower) < 0 || upper != nil && bytes.Compare(k, upper) >= 0 {
			continue
		}
		row := ownRow{key: k, deleted: s.valOff == 0}
		if !row.deleted {
			row.val = s.val(repr)
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b ownRow) int {
		if reverse {
			return bytes.Compare(b.key, a.key)
		}
		return bytes.Compare(a.key, b.key)
	})
	return rows
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
