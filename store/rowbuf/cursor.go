package rowbuf

import (
	"bytes"
	"slices"

	"github.com/cespare/xxhash/v2"
)

// A cursor takes fetchRows rows while it holds the lock, and twice as many each
// time that it comes for more of a chain, up to fetchRowsMax: who reads a page
// takes little more than the page, and who reads all seldom searches for where to
// go on.
const (
	fetchRows    = 64
	fetchRowsMax = 256
)

// Snap is a buffer as it was at a mark. One goroutine uses it.
type Snap struct {
	b     *Buffer
	limit Mark
	order []uint32 // of the chains that existed at the first wide scan; enough, since they existed at limit
}

// At gives the buffer as it was at a mark.
func (b *Buffer) At(limit Mark) Snap { return Snap{b: b, limit: limit} }

// Empty reports whether there are no rows.
func (s *Snap) Empty() bool { return s.b == nil || s.limit <= firstMark }

// Get gives the value of key.
func (s *Snap) Get(key []byte) ([]byte, State) {
	if s.Empty() {
		return nil, Absent
	}
	return s.b.Get(key, s.limit)
}

// row is one row of a scan.
type row struct {
	key, val []byte
	deleted  bool
}

// Cursor visits the rows of a snap in a range, deleted ones included, in
// ascending or descending order. A cursor may be used for one scan after another.
type Cursor struct {
	s       *Snap
	lower   []byte
	upper   []byte
	reverse bool

	chains []uint32 // those to come, of a wide scan
	rows   []row    // fetched
	next   int
	most   int      // rows of the next fetch
	head   Mark     // within an ordered chain: where the rest begins, 0 for none
	depth  uint32   // and, ascending, the depth of the next position
	left   []sorted // within an unordered chain: the rest, a part of sorted
	places []Mark   // memory of fetches
	sorted []sorted // memory of fetches from unordered chains
	spare  []sorted // memory of sorting
}

// Reset begins a scan of [lower, upper) and goes to its first row.
func (c *Cursor) Reset(s *Snap, lower, upper []byte, reverse bool) {
	*c = Cursor{
		s: s, lower: lower, upper: upper, reverse: reverse,
		rows: c.rows[:0], places: c.places[:0], sorted: c.sorted[:0], spare: c.spare[:0],
	}
	if s.Empty() {
		return
	}
	b := s.b
	b.mu.RLock()
	defer b.mu.RUnlock()
	if withinChain(lower, upper) {
		head := lower[:ChainBytes]
		if n := b.findChain(xxhash.Sum64(head), head); n != 0 {
			c.enter(n - 1)
		}
		return
	}
	if s.order == nil {
		s.order = b.ordered()
	}
	c.chains = c.overlapping(s.order)
	c.fetch()
}

// withinChain reports whether all keys of a range are of one chain.
func withinChain(lower, upper []byte) bool {
	if len(lower) < ChainBytes || len(upper) < ChainBytes {
		return false
	}
	if bytes.Equal(lower[:ChainBytes], upper[:ChainBytes]) {
		return true
	}
	const last = ChainBytes - 1
	return len(upper) == ChainBytes && upper[last] == lower[last]+1 && upper[last] != 0 &&
		bytes.Equal(lower[:last], upper[:last])
}

// overlapping gives the chains that may have rows in the range.
func (c *Cursor) overlapping(order []uint32) []uint32 {
	head := func(n uint32) []byte { return c.s.b.chains[n].key() }
	// The chain before the first head that is not below lower may hold lower.
	from, _ := slices.BinarySearchFunc(order, c.lower, func(n uint32, key []byte) int {
		return bytes.Compare(head(n), key)
	})
	from = max(from-1, 0)
	to := len(order)
	if c.upper != nil {
		to, _ = slices.BinarySearchFunc(order, c.upper, func(n uint32, key []byte) int {
			return bytes.Compare(head(n), key)
		})
	}
	return order[from:max(from, to)]
}

// Valid reports whether there is a row.
func (c *Cursor) Valid() bool { return c.next < len(c.rows) }

// Key is that of the row. It and the value may be kept but not changed.
func (c *Cursor) Key() []byte { return c.rows[c.next].key }

// Val is the value; deleted means that the row says there is none.
func (c *Cursor) Val() (val []byte, deleted bool) {
	r := &c.rows[c.next]
	return r.val, r.deleted
}

// Next goes to the next row.
func (c *Cursor) Next() {
	c.next++
	if c.next < len(c.rows) || c.head == 0 && len(c.left) == 0 && len(c.chains) == 0 {
		return
	}
	c.s.b.mu.RLock()
	defer c.s.b.mu.RUnlock()
	c.fetch()
}

// fetch takes the next rows, from the chain that was begun or from those to come.
func (c *Cursor) fetch() {
	c.rows, c.next = c.rows[:0], 0
	for {
		switch {
		case c.head != 0:
			c.fetchOrdered()
		case len(c.left) > 0:
			c.fetchSorted()
		}
		if len(c.rows) > 0 || len(c.chains) == 0 {
			return
		}
		var n uint32
		if last := len(c.chains) - 1; c.reverse {
			n, c.chains = c.chains[last], c.chains[:last]
		} else {
			n, c.chains = c.chains[0], c.chains[1:]
		}
		c.enter(n)
		if len(c.rows) > 0 {
			return
		}
	}
}

// enter begins a chain and fetches its first rows.
func (c *Cursor) enter(n uint32) {
	b, limit := c.s.b, c.s.limit
	ch := &b.chains[n]
	c.most = fetchRows
	if ch.first >= limit {
		return
	}
	if ch.unordered < limit {
		c.sort(ch)
		c.fetchSorted()
		return
	}
	c.head = b.back(ch.last, func(at Mark) bool {
		return at < limit && (c.upper == nil || bytes.Compare(b.mem.key(at), c.upper) < 0)
	})
	if c.head == 0 {
		return
	}
	if !c.reverse {
		c.depth = 0
		below := b.back(c.head, func(at Mark) bool { return bytes.Compare(b.mem.key(at), c.lower) < 0 })
		if below != 0 {
			c.depth = b.mem.depth(below) + 1
		}
		if c.depth > b.mem.depth(c.head) {
			c.head = 0
			return
		}
	}
	c.fetchOrdered()
}

// fetchOrdered takes the next rows of an ordered chain.
func (c *Cursor) fetchOrdered() {
	b := c.s.b
	most := c.more()
	if c.reverse {
		for len(c.rows) < most && c.head != 0 {
			if bytes.Compare(b.mem.key(c.head), c.lower) < 0 {
				c.head = 0
				return
			}
			c.take(c.head)
			c.head = b.mem.link(c.head)
		}
		return
	}
	// The links lead back, so the places of the next rows are gathered from the
	// last of them on.
	end := c.depth + uint32(most) - 1
	at := b.back(c.head, func(at Mark) bool { return b.mem.depth(at) <= end })
	c.places = c.places[:0]
	for n := b.mem.depth(at) - c.depth + 1; n > 0; n-- {
		c.places = append(c.places, at)
		at = b.mem.link(at)
	}
	for _, at := range slices.Backward(c.places) {
		c.take(at)
	}
	if c.depth += uint32(len(c.places)); c.depth > b.mem.depth(c.head) {
		c.head = 0
	}
}

// sort finds the rows of an unordered chain and puts them into order.
func (c *Cursor) sort(ch *chain) {
	b := c.s.b
	at := b.back(ch.last, func(at Mark) bool { return at < c.s.limit })
	c.sorted = slices.Grow(c.sorted[:0], int(b.mem.depth(at))+1)
	for ; at != 0; at = b.mem.link(at) {
		key := b.mem.key(at)
		if bytes.Compare(key, c.lower) >= 0 && (c.upper == nil || bytes.Compare(key, c.upper) < 0) {
			c.sorted = append(c.sorted, sorted{head: headOf(key, ChainBytes), at: at})
		}
	}
	c.sorted, c.spare = sortByKey(c.sorted, c.spare, b.mem.key)
	c.left = c.sorted
}

// fetchSorted takes the next rows of an unordered chain.
func (c *Cursor) fetchSorted() {
	n := min(c.more(), len(c.left))
	if c.reverse {
		end := len(c.left) - n
		for _, s := range slices.Backward(c.left[end:]) {
			c.take(s.at)
		}
		c.left = c.left[:end]
		return
	}
	for _, s := range c.left[:n] {
		c.take(s.at)
	}
	c.left = c.left[n:]
}

// more gives the number of rows of a fetch.
func (c *Cursor) more() int {
	n := c.most
	c.most = min(2*n, fetchRowsMax)
	return n
}

func (c *Cursor) take(at Mark) {
	v := c.s.b.version(at, c.s.limit)
	val, deleted := valOf(v)
	c.rows = append(c.rows, row{key: keyOf(v), val: val, deleted: deleted})
}

// keepRows bounds the memory that a cursor keeps between scans.
const keepRows = fetchRowsMax

// Release forgets the snap and the rows and keeps some memory for the next scan.
func (c *Cursor) Release() {
	if cap(c.rows) > keepRows || cap(c.sorted) > keepRows || cap(c.spare) > keepRows {
		*c = Cursor{}
		return
	}
	clear(c.rows[:cap(c.rows)])
	*c = Cursor{rows: c.rows[:0], places: c.places[:0], sorted: c.sorted[:0], spare: c.spare[:0]}
}
