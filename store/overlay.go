package store

import (
	"bytes"
	"slices"

	"github.com/chatnode/chatnode/store/rowbuf"
)

// overlay holds the rows of a batch, the last write of each key, so that a
// machine sees what it wrote. The bytes lie one behind the other in buf.
type overlay struct {
	buf   []byte
	rows  []ownRow
	slots []uint32 // number of a row + 1; open addressing, a power of two
}

// ownRow is one key of a batch. Offsets are into the overlay's bytes.
type ownRow struct {
	hash    uint64
	keyOff  int
	valOff  int
	valLen  int
	keyLen  int
	deleted bool
}

const (
	overlayMin = 64
	// What is kept from batch to batch.
	overlayKeepSlots = 8 << 10
	overlayKeepBytes = 256 << 10
)

func (o *overlay) key(r *ownRow) []byte { return o.buf[r.keyOff : r.keyOff+r.keyLen] }

func (o *overlay) val(r *ownRow) []byte {
	return o.buf[r.valOff : r.valOff+r.valLen : r.valOff+r.valLen]
}

// find gives the slot of key, or the free one where it belongs.
func (o *overlay) find(hash uint64, key []byte) *uint32 {
	mask := uint64(len(o.slots) - 1)
	for i := hash & mask; ; i = (i + 1) & mask {
		s := &o.slots[i]
		if *s == 0 {
			return s
		}
		if r := &o.rows[*s-1]; r.hash == hash && bytes.Equal(o.key(r), key) {
			return s
		}
	}
}

// get gives the row of a key that the batch wrote, else nil.
func (o *overlay) get(hash uint64, key []byte) *ownRow {
	if len(o.rows) == 0 {
		return nil
	}
	if s := *o.find(hash, key); s != 0 {
		return &o.rows[s-1]
	}
	return nil
}

// put records that the batch ends with a value for key, or with none.
func (o *overlay) put(key, val []byte, deleted bool) {
	if 2*(len(o.rows)+1) > len(o.slots) {
		o.grow()
	}
	hash := rowbuf.Hash(key)
	s := o.find(hash, key)
	if *s == 0 {
		o.rows = append(o.rows, ownRow{hash: hash, keyOff: len(o.buf), keyLen: len(key)})
		o.buf = append(o.buf, key...)
		*s = uint32(len(o.rows))
	}
	r := &o.rows[*s-1]
	r.valOff, r.valLen, r.deleted = len(o.buf), len(val), deleted
	o.buf = append(o.buf, val...)
}

func (o *overlay) grow() {
	o.slots = make([]uint32, max(overlayMin, 2*len(o.slots)))
	mask := uint64(len(o.slots) - 1)
	for n := range o.rows {
		i := o.rows[n].hash & mask
		for o.slots[i] != 0 {
			i = (i + 1) & mask
		}
		o.slots[i] = uint32(n + 1)
	}
}

// reset forgets everything, and the memory when it has become large.
func (o *overlay) reset() {
	if len(o.slots) > overlayKeepSlots || cap(o.buf) > overlayKeepBytes {
		*o = overlay{}
		return
	}
	if len(o.rows) > 0 {
		clear(o.slots)
	}
	o.buf, o.rows = o.buf[:0], o.rows[:0]
}

// ownRows visits the batch's rows of a range, in the order of a scan.
type ownRows struct {
	o    *overlay
	rows []int
}

// within gives the rows in [lower, upper).
func (o *overlay) within(lower, upper []byte, reverse bool) ownRows {
	found := ownRows{o: o}
	for i := range o.rows {
		k := o.key(&o.rows[i])
		if bytes.Compare(k, lower) >= 0 && (upper == nil || bytes.Compare(k, upper) < 0) {
			found.rows = append(found.rows, i)
		}
	}
	slices.SortFunc(found.rows, func(a, b int) int {
		if reverse {
			a, b = b, a
		}
		return bytes.Compare(o.key(&o.rows[a]), o.key(&o.rows[b]))
	})
	return found
}

func (r *ownRows) Valid() bool { return len(r.rows) > 0 }
func (r *ownRows) Next()       { r.rows = r.rows[1:] }
func (r *ownRows) Key() []byte { return r.o.key(&r.o.rows[r.rows[0]]) }

func (r *ownRows) Val() (val []byte, deleted bool) {
	row := &r.o.rows[r.rows[0]]
	return r.o.val(row), row.deleted
}

func uvarintLen(v uint64) int {
	n := 1
	for v >= 0x80 {
		v >>= 7
		n++
	}
	return n
}
