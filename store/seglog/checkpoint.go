package seglog

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/chatnode/chatnode/shard"
)

// A checkpoint holds, per group, the bounds of its log and its stable values:
//
//	groups u32, per group: group u32 | first u64 | last u64 | values u32,
//	    per value: key length u16 | key | length u32 | value
type checkpoint map[shard.GroupID]*groupMark

type groupMark struct {
	first, last uint64
	stable      map[string][]byte
}

func appendCheckpoint(b []byte, groups map[shard.GroupID]*group) []byte {
	count := len(b)
	b = append(b, 0, 0, 0, 0)
	n := uint32(0)
	for _, id := range slices.Sorted(maps.Keys(groups)) {
		g := groups[id]
		if g.empty() {
			continue
		}
		n++
		b = binary.LittleEndian.AppendUint32(b, uint32(id))
		b = binary.LittleEndian.AppendUint64(b, g.first)
		b = binary.LittleEndian.AppendUint64(b, g.last)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(g.stable)))
		for _, k := range slices.Sorted(maps.Keys(g.stable)) {
			b = binary.LittleEndian.AppendUint16(b, uint16(len(k)))
			b = append(b, k...)
			b = binary.LittleEndian.AppendUint32(b, uint32(len(g.stable[k])))
			b = append(b, g.stable[k]...)
		}
	}
	binary.LittleEndian.PutUint32(b[count:], n)
	return b
}

func readCheckpoint(b []byte) (checkpoint, bool) {
	r := cursor{b: b}
	cp := make(checkpoint)
	for n := r.u32(); n > 0 && !r.bad; n-- {
		id := shard.GroupID(r.u32())
		m := &groupMark{first: r.u64(), last: r.u64(), stable: make(map[string][]byte)}
		for v := r.u32(); v > 0 && !r.bad; v-- {
			key := string(r.take(int(r.u16())))
			m.stable[key] = slices.Clone(r.take(int(r.u32())))
		}
		if m.last < m.first || m.first == 0 != (m.last == 0) || cp[id] != nil {
			return nil, false
		}
		cp[id] = m
	}
	return cp, !r.bad && len(r.b) == 0
}

// cursor reads fixed-width integers and turns bad when the bytes run out.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) take(n int) []byte {
	if c.bad || n < 0 || n > len(c.b) {
		c.bad = true
		return nil
	}
	v := c.b[:n]
	c.b = c.b[n:]
	return v
}

func (c *cursor) u16() uint16 {
	if v := c.take(2); v != nil {
		return binary.LittleEndian.Uint16(v)
	}
	return 0
}

func (c *cursor) u32() uint32 {
	if v := c.take(4); v != nil {
		return binary.LittleEndian.Uint32(v)
	}
	return 0
}

func (c *cursor) u64() uint64 {
	if v := c.take(8); v != nil {
		return binary.LittleEndian.Uint64(v)
	}
	return 0
}
