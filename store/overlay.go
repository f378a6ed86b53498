package store

import (
	"bytes"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/store/rowbuf"
)

// overlay holds the rows of a batch in the order in which they were written, so
// that a machine sees what it wrote. The bytes lie one behind the other in buf.
// Most batches are never asked: the index is made when one is.
//
// A batch has an overlay from Begin to Close only: there are as many as batches at
// one moment, however many groups there are, so that each may keep what the largest
// entry needs.
type overlay struct {
	buf     []byte
	rows    []ownRow
	slots   []uint32 // number of the newest row of a key + 1; open addressing, a power of two
	indexed int      // rows that slots knows
}

// ownRow is one write of a batch.
type ownRow struct {
	off     int // of the key in the overlay's bytes; the value follows it
	keyLen  int
	valLen  int
	deleted bool
	place   rowbuf.Place // in the group's buffer, while the batch is moved there
}

const (
	overlayMin = 64
	// What is kept from batch to batch: the rows of an entry of fsm.BatchBytesMax
	// fit, with the slack of a slice that grew.
	overlayKeepRows  = 32 << 10
	overlayKeepBytes = 4 * fsm.BatchBytesMax
)

func (o *overlay) key(r *ownRow) []byte { return o.buf[r.off : r.off+r.keyLen] }

func (o *overlay) val(r *ownRow) []byte {
	start := r.off + r.keyLen
	end := start + r.valLen
	return o.buf[start:end:end]
}

// find gives the slot of key, or the free one where it belongs.
func (o *overlay) find(key []byte) *uint32 {
	mask := uint64(len(o.slots) - 1)
	for i := xxhash.Sum64(key) & mask; ; i = (i + 1) & mask {
		s := &o.slots[i]
		if *s == 0 || bytes.Equal(o.key(&o.rows[*s-1]), key) {
			return s
		}
	}
}

// get gives the row of a key that the batch wrote, else nil.
func (o *overlay) get(key []byte) *ownRow {
	if len(o.rows) == 0 {
		return nil
	}
	o.index()
	if s := *o.find(key); s != 0 {
		return &o.rows[s-1]
	}
	return nil
}

// put records that the batch ends with a value for key, or with none.
func (o *overlay) put(key, val []byte, deleted bool) {
	o.rows = append(o.rows, ownRow{off: len(o.buf), keyLen: len(key), valLen: len(val), deleted: deleted})
	o.buf = append(append(o.buf, key...), val...)
}

// index enters the rows that are not in it yet.
func (o *overlay) index() {
	if 2*len(o.rows) > len(o.slots) {
		size := max(overlayMin, len(o.slots))
		for size < 2*len(o.rows) {
			size *= 2
		}
		o.indexed = 0
		if size <= cap(o.slots) {
			o.slots = o.slots[:size]
			clear(o.slots)
		} else {
			o.slots = make([]uint32, size)
		}
	}
	for ; o.indexed < len(o.rows); o.indexed++ {
		*o.find(o.key(&o.rows[o.indexed])) = uint32(o.indexed + 1)
	}
}

// newest reports whether no later row has the key of a row, all being indexed.
func (o *overlay) newest(n int) bool { return *o.find(o.key(&o.rows[n])) == uint32(n+1) }

// reset forgets everything, and the memory when it has become large.
func (o *overlay) reset() {
	if cap(o.rows) > overlayKeepRows || cap(o.buf) > overlayKeepBytes {
		*o = overlay{}
		return
	}
	o.buf, o.rows, o.slots, o.indexed = o.buf[:0], o.rows[:0], o.slots[:0], 0
}

// ownRows visits the batch's rows of a range, in the order of a scan.
type ownRows struct {
	o    *overlay
	rows []int
}

// within gives the rows in [lower, upper).
func (o *overlay) within(lower, upper []byte, reverse bool) ownRows {
	found := ownRows{o: o}
	o.index()
	for i := range o.rows {
		k := o.key(&o.rows[i])
		if bytes.Compare(k, lower) >= 0 && (upper == nil || bytes.Compare(k, upper) < 0) && o.newest(i) {
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
