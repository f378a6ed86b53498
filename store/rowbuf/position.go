package rowbuf

import "bytes"

// chain is the rows whose keys agree in their first ChainBytes bytes, or one
// shorter key.
type chain struct {
	first, last Mark // positions
	unordered   Mark // the first position whose key is not above the one before
}

// ChainBytes is the length of what the keys of a chain share: group, area, hash,
// id hash and kind of a conversation's rows.
const ChainBytes = 22

// sharedBytes is what all keys of a buffer share: the group.
const sharedBytes = 4

func chainKey(key []byte) []byte { return key[:min(len(key), ChainBytes)] }

// push makes the row at a place, whose key is new, the last position of c.
//
// Besides the link to the position before it, a position has a jump to one
// further back, chosen as in Myers' random access lists: the jump of the jump of
// the position before, where the two are of equal length. A search back from the
// end then takes about 2·log₂ steps, and adding takes none.
func (b *Buffer) push(c *chain, at Mark, key []byte) {
	if c.first == 0 {
		c.first, c.last, c.unordered = at, at, End
		b.mem.setField(at, offJump, uint32(at))
		return
	}
	p := c.last
	if c.unordered == End && bytes.Compare(key, b.mem.key(p)) < 0 {
		c.unordered = at
	}
	depth, jump := b.mem.depth(p), b.mem.jump(p)
	far := b.mem.jump(jump)
	d := b.mem.depth(jump)
	if depth-d != d-b.mem.depth(far) {
		far = p
	}
	b.mem.setField(at, offLink, uint32(p))
	b.mem.setField(at, offJump, uint32(far))
	b.mem.setField(at, offDepth, depth+1)
	c.last = at
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
