package rowbuf

import "encoding/binary"

// Mark is a place in a buffer: the number of a chunk and an offset in it. Places
// rise as rows are added; 0 is no place.
type Mark uint32

const (
	chunkBits  = 16
	chunkBytes = 1 << chunkBits
	firstMark  = 8 // so that 0 is free
)

// End is a mark behind all rows.
const End = ^Mark(0)

// A row is a head, the key and the value. The head, little-endian:
//
//	newest u32   of a position: the newest version, 0 for itself
//	link   u32   of a position: the one before it in its chain, 0 for none;
//	             of a later version: the version before it
//	jump   u32   of a position: one further back, see position.go
//	depth  u32   of a position: how many are before it in its chain
//	value  u32   length; its top bit says deleted
//	key    u16   length
const (
	offNewest = 0
	offLink   = 4
	offJump   = 8
	offDepth  = 12
	offVal    = 16
	offKey    = 20
	headBytes = 22

	deletedBit = 1 << 31
)

// KeyBytesMax bounds a key, ValueBytesMax a value.
const (
	KeyBytesMax   = 1<<16 - 1
	ValueBytesMax = 1 << 30
)

// arena is memory in chunks, each of chunkBytes but those of a single large row.
type arena struct {
	chunks [][]byte
	used   int // of the last chunk
	bytes  int64
}

// add appends a row and gives its place.
func (a *arena) add(key, val []byte, deleted bool) Mark {
	need := headBytes + len(key) + len(val)
	if len(a.chunks) == 0 || a.used+need > len(a.chunks[len(a.chunks)-1]) {
		a.used = 0
		if len(a.chunks) == 0 {
			a.used = firstMark
		}
		a.chunks = append(a.chunks, make([]byte, max(chunkBytes, a.used+need)))
		a.bytes += int64(len(a.chunks[len(a.chunks)-1]))
	}
	at := Mark(len(a.chunks)-1)<<chunkBits | Mark(a.used)
	row := a.chunks[len(a.chunks)-1][a.used : a.used+need]
	n := uint32(len(val))
	if deleted {
		n |= deletedBit
	}
	binary.LittleEndian.PutUint32(row[offVal:], n)
	binary.LittleEndian.PutUint16(row[offKey:], uint16(len(key)))
	copy(row[headBytes:], key)
	copy(row[headBytes+len(key):], val)
	a.used += need
	if a.used >= chunkBytes { // the next place must not look like one of this chunk
		a.used = len(a.chunks[len(a.chunks)-1])
	}
	return at
}

// end is the mark behind the last row.
func (a *arena) end() Mark {
	if len(a.chunks) == 0 {
		return firstMark
	}
	return Mark(len(a.chunks)-1)<<chunkBits + Mark(min(a.used, chunkBytes))
}

// row gives the bytes from a place on.
func (a *arena) row(at Mark) []byte {
	return a.chunks[at>>chunkBits][at&(chunkBytes-1):]
}

func (a *arena) key(at Mark) []byte { return keyOf(a.row(at)) }

func (a *arena) field(at Mark, off int) uint32 { return binary.LittleEndian.Uint32(a.row(at)[off:]) }

func (a *arena) setField(at Mark, off int, v uint32) {
	binary.LittleEndian.PutUint32(a.row(at)[off:], v)
}

func (a *arena) link(at Mark) Mark    { return Mark(a.field(at, offLink)) }
func (a *arena) jump(at Mark) Mark    { return Mark(a.field(at, offJump)) }
func (a *arena) depth(at Mark) uint32 { return a.field(at, offDepth) }

func keyOf(row []byte) []byte {
	n := headBytes + int(binary.LittleEndian.Uint16(row[offKey:]))
	return row[headBytes:n:n]
}

func valOf(row []byte) (val []byte, deleted bool) {
	start := headBytes + int(binary.LittleEndian.Uint16(row[offKey:]))
	n := binary.LittleEndian.Uint32(row[offVal:])
	if n&deletedBit != 0 {
		return nil, true
	}
	end := start + int(n)
	return row[start:end:end], false
}
