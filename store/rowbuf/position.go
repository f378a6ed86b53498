package rowbuf

import (
	"bytes"
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// chain is the rows whose keys agree in their first ChainBytes bytes, or one
// shorter key. What adding a row needs to know stands here, so that it does not
// have to fetch older rows into the processor's cache.
type chain struct {
	first, last Mark // positions
	unordered   Mark // the first position whose key is not above the one before
	depth       uint32
	lastHead    uint64 // of the key of last, see headOf
	headLen     uint8
	head        [ChainBytes]byte
	known       uint8           // of jumps
	jumps       [jumpsKept]jump // the jump of last comes last, before it that jump's own jump, and so on
}

// jump is the target of a jump.
type jump struct {
	at    Mark
	depth uint32
}

// jumpsKept fills a chain up to chainBytes, two lines of the processor's cache.
// It is more jumps than lead from the end of most chains to their beginning.
const (
	jumpsKept  = 10
	chainBytes = 128
)

// ChainBytes is the length of what the keys of a chain share: group, area, hash,
// id hash and kind of a conversation's rows.
const ChainBytes = 22

// sharedBytes is what all keys of a buffer share: the group.
const sharedBytes = 4

func chainKey(key []byte) []byte { return key[:min(len(key), ChainBytes)] }

// key is what the keys of the chain begin with.
func (c *chain) key() []byte { return c.head[:c.headLen] }

// above reports whether a key is above all keys of an ordered chain.
func (c *chain) above(b *Buffer, key []byte) bool {
	head := headOf(key, ChainBytes)
	return head > c.lastHead || head == c.lastHead && bytes.Compare(key, b.mem.key(c.last)) > 0
}

// push makes the row at a place, whose key is new, the last position of c. hash is
// that of the key if c is indexed.
//
// Besides the link to the position before it, a position has a jump to one
// further back, chosen as in Myers' random access lists: the jump of the jump of
// the position before, where the two are of equal length. A search back from the
// end then takes about 2·log₂ steps, and adding takes none.
func (b *Buffer) push(c *chain, at Mark, hash uint64, key []byte) {
	if c.first == 0 {
		c.first, c.last, c.lastHead = at, at, headOf(key, ChainBytes)
		c.headLen = uint8(copy(c.head[:], key))
		c.jumps[0], c.known = jump{at: at}, 1
		b.mem.setField(at, offJump, uint32(at))
		return
	}
	if c.unordered == End && !c.above(b, key) {
		b.index(c)
		c.unordered, hash = at, xxhash.Sum64(key)
	}
	if c.unordered != End {
		b.keys.add(hash, uint32(at))
	}
	p := c.last
	b.leap(c)
	c.depth++
	c.last, c.lastHead = at, headOf(key, ChainBytes)
	row := b.mem.row(at)
	binary.LittleEndian.PutUint32(row[offLink:], uint32(p))
	binary.LittleEndian.PutUint32(row[offJump:], uint32(c.jumps[c.known-1].at))
	binary.LittleEndian.PutUint32(row[offDepth:], c.depth)
}

// leap makes the last of the jumps that of the position behind c.last.
func (b *Buffer) leap(c *chain) {
	near := c.jumps[c.known-1]
	far := near // the first position jumps to itself
	switch {
	case c.known > 1:
		far = c.jumps[c.known-2]
	case near.depth > 0:
		far.at = b.mem.jump(near.at)
		far.depth = b.mem.depth(far.at)
	}
	if c.depth-near.depth == near.depth-far.depth {
		c.known = max(c.known-1, 1)
		c.jumps[c.known-1] = far
		return
	}
	if c.known == jumpsKept {
		copy(c.jumps[:], c.jumps[1:])
		c.known--
	}
	c.jumps[c.known] = jump{at: c.last, depth: c.depth}
	c.known++
}

// index enters the keys of a chain that ceases to be ordered.
func (b *Buffer) index(c *chain) {
	for at := c.last; at != 0; at = b.mem.link(at) {
		b.keys.add(xxhash.Sum64(b.mem.key(at)), uint32(at))
	}
}

// back finds, from a position on backwards, the first that ok accepts; ok must
// accept every position behind one that it accepts. It gives 0 when there is none.
func (b *Buffer) back(at Mark, ok func(Mark) bool) Mark {
	for !ok(at) {
		jump := b.mem.jump(at)
		switch {
		case jump == at: // the first of the chain
			return 0
		case ok(jump):
			at = b.mem.link(at)
		default:
			at = jump
		}
	}
	return at
}

// version gives the newest version before limit of the key at a position that is
// before limit itself.
func (b *Buffer) version(at, limit Mark) []byte {
	row := b.mem.row(at)
	v := Mark(b.mem.field(at, offNewest))
	if v == 0 {
		return row
	}
	for v >= limit {
		v = b.mem.link(v)
	}
	if v == at {
		return row
	}
	return b.mem.row(v)
}
