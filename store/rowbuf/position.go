package rowbuf

import (
	"bytes"
	"encoding/binary"
)

// chain is the rows whose keys agree in their first ChainBytes bytes, or one
// shorter key. What adding a row needs to know stands here, so that it does not
// have to fetch older rows into the processor's cache.
type chain struct {
	first, last Mark // positions
	unordered   Mark // the first position whose key is not above the one before
	depth       uint32
	jump        Mark // of last
	jumpDepth   uint32
	far         Mark // the jump of jump
	farDepth    uint32
	lastHead    uint64 // of the key of last, see headOf
	headLen     uint8
	head        [ChainBytes]byte
}

// ChainBytes is the length of what the keys of a chain share: group, area, hash,
// id hash and kind of a conversation's rows.
const ChainBytes = 22

// sharedBytes is what all keys of a buffer share: the group.
const sharedBytes = 4

func chainKey(key []byte) []byte { return key[:min(len(key), ChainBytes)] }

// key is what the keys of the chain begin with.
func (c *chain) key() []byte { return c.head[:c.headLen] }

// push makes the row at a place, whose key is new, the last position of c.
//
// Besides the link to the position before it, a position has a jump to one
// further back, chosen as in Myers' random access lists: the jump of the jump of
// the position before, where the two are of equal length. A search back from the
// end then takes about 2·log₂ steps, and adding takes none.
func (b *Buffer) push(c *chain, at Mark, key []byte) {
	head := headOf(key, ChainBytes)
	if c.first == 0 {
		c.first, c.last, c.unordered, c.jump, c.far, c.lastHead = at, at, End, at, at, head
		c.headLen = uint8(copy(c.head[:], key))
		b.mem.setField(at, offJump, uint32(at))
		return
	}
	p := c.last
	if c.unordered == End && (head < c.lastHead || head == c.lastHead && bytes.Compare(key, b.mem.key(p)) < 0) {
		c.unordered = at
	}
	if c.depth-c.jumpDepth == c.jumpDepth-c.farDepth {
		c.jump, c.jumpDepth = c.far, c.farDepth
		c.far = b.mem.jump(c.jump)
		c.farDepth = b.mem.depth(c.far)
	} else {
		c.far, c.farDepth = c.jump, c.jumpDepth
		c.jump, c.jumpDepth = p, c.depth
	}
	c.depth++
	c.last, c.lastHead = at, head
	row := b.mem.row(at)
	binary.LittleEndian.PutUint32(row[offLink:], uint32(p))
	binary.LittleEndian.PutUint32(row[offJump:], uint32(c.jump))
	binary.LittleEndian.PutUint32(row[offDepth:], c.depth)
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
