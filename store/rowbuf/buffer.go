package rowbuf

import (
	"bytes"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cespare/xxhash/v2"
)

// Buffer holds rows. The zero value is an empty one.
type Buffer struct {
	mu     sync.RWMutex // guards all but bytes
	mem    arena
	keys   table // of unordered chains: by the hash of a key its position
	heads  table // by the hash of a chain's key: its number + 1
	chains []chain
	places int // positions of all chains

	fetched uint64 // keeps what Seek reads for the sake of reading it from being optimised away

	orderMu sync.Mutex // guards order; taken behind mu
	order   []uint32   // the numbers of chains in the order of keys, as far as someone asked

	bytes atomic.Int64
}

// State says what is known of a key.
type State uint8

// What a buffer knows of a key.
const (
	Absent State = iota // nothing
	Present
	Deleted
)

// Lock keeps readers out for some calls of Put.
func (b *Buffer) Lock() { b.mu.Lock() }

// Unlock lets them in again and gives the mark behind what was put.
func (b *Buffer) Unlock() Mark {
	b.bytes.Store(b.mem.bytes + int64(8*(len(b.keys.slots)+len(b.heads.slots))+chainBytes*cap(b.chains)))
	end := b.mem.end()
	b.mu.Unlock()
	return end
}

// Place is what [Buffer.Seek] found out about where a key belongs.
type Place struct {
	chain uint32 // its number + 1, 0 for one that was not there
	hash  uint64 // of the key, when the chain was indexed
}

// Seek looks up where a key belongs, for a Put with the buffer locked. Who seeks
// the places of many rows before the first Put lets the processor fetch the memory
// of all of them at once, where each Put would wait for its own.
func (b *Buffer) Seek(key []byte) Place {
	head := chainKey(key)
	at := Place{chain: b.findChain(xxhash.Sum64(head), head)}
	if at.chain != 0 && b.chains[at.chain-1].unordered != End {
		at.hash = xxhash.Sum64(key)
		b.fetched ^= b.keys.first(at.hash)
	}
	return at
}

// Put adds a row, or the deletion of one, with the buffer locked. at is the place
// that Seek gave for the key since then.
func (b *Buffer) Put(at Place, key, val []byte, deleted bool) {
	if at.chain == 0 {
		at.chain = b.enter(key)
	}
	c := &b.chains[at.chain-1]
	if at.hash == 0 && c.unordered != End {
		at.hash = xxhash.Sum64(key)
	}
	pos := Mark(0)
	if c.first != 0 {
		pos = b.find(c, at.hash, key)
	}
	row := b.mem.add(key, val, deleted)
	if pos != 0 {
		before := b.mem.field(pos, offNewest)
		if before == 0 {
			before = uint32(pos)
		}
		b.mem.setField(row, offLink, before)
		b.mem.setField(pos, offNewest, uint32(row))
		return
	}
	b.push(c, row, at.hash, key)
	b.places++
}

// enter gives the number of a key's chain, counted from 1. It makes the chain if
// no row since Seek has.
func (b *Buffer) enter(key []byte) uint32 {
	head := chainKey(key)
	hash := xxhash.Sum64(head)
	n := b.findChain(hash, head)
	if n == 0 {
		b.chains = append(b.chains, chain{unordered: End})
		n = uint32(len(b.chains))
		b.heads.add(hash, n)
	}
	return n
}

// findChain gives the number of a chain, counted from 1, or 0.
func (b *Buffer) findChain(hash uint64, head []byte) uint32 {
	return b.heads.find(hash, func(n uint32) bool {
		return bytes.Equal(b.chains[n-1].key(), head)
	})
}

// find gives the position of a key in its chain, which has rows, or 0. A key
// above all others of an ordered chain, as most new ones are, costs no look at
// any row. hash, that of the key, matters only where the chain is indexed.
func (b *Buffer) find(c *chain, hash uint64, key []byte) Mark {
	if c.unordered != End {
		return Mark(b.keys.find(hash, func(n uint32) bool { return bytes.Equal(b.mem.key(Mark(n)), key) }))
	}
	if c.above(b, key) {
		return 0
	}
	pos := b.back(c.last, func(at Mark) bool { return bytes.Compare(b.mem.key(at), key) <= 0 })
	if pos != 0 && !bytes.Equal(b.mem.key(pos), key) {
		return 0
	}
	return pos
}

// Get gives the newest version of key before limit. The value may be kept but
// not changed.
func (b *Buffer) Get(key []byte, limit Mark) ([]byte, State) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	head := chainKey(key)
	n := b.findChain(xxhash.Sum64(head), head)
	if n == 0 {
		return nil, Absent
	}
	pos := b.find(&b.chains[n-1], xxhash.Sum64(key), key)
	if pos == 0 || pos >= limit {
		return nil, Absent
	}
	val, deleted := valOf(b.version(pos, limit))
	if deleted {
		return nil, Deleted
	}
	return val, Present
}

// Bytes is the memory that the buffer takes.
func (b *Buffer) Bytes() int64 { return b.bytes.Load() }

// Keys is the number of keys in it.
func (b *Buffer) Keys() int {
	b.mu.RLock()
	defer b.mu.RUnlock()
	return b.places
}

// ordered gives the chains in the order of keys. The caller holds mu.
func (b *Buffer) ordered() []uint32 {
	b.orderMu.Lock()
	defer b.orderMu.Unlock()
	if len(b.order) == len(b.chains) {
		return b.order
	}
	sorted := make([]sortable, len(b.chains))
	for i := range b.chains {
		sorted[i] = sortable{head: headOf(b.chains[i].key(), sharedBytes), n: uint32(i)}
	}
	slices.SortFunc(sorted, func(x, y sortable) int {
		if x.head != y.head {
			return compare(x.head, y.head)
		}
		return bytes.Compare(b.chains[x.n].key(), b.chains[y.n].key())
	})
	order := make([]uint32, len(sorted)) // a new one: readers have the old
	for i, s := range sorted {
		order[i] = s.n
	}
	b.order = order
	return order
}

// sortable is something with a key, of which eight bytes stand beside it: most
// comparisons need no more and touch no other memory.
type sortable struct {
	head uint64
	n    uint32
}

// headOf gives the eight bytes of key behind skip, with zeros behind its end.
func headOf(key []byte, skip int) uint64 {
	if len(key) >= skip+8 {
		return binary.BigEndian.Uint64(key[skip:])
	}
	var h uint64
	for i := skip; i < skip+8; i++ {
		h <<= 8
		if i < len(key) {
			h |= uint64(key[i])
		}
	}
	return h
}

func compare(x, y uint64) int {
	if x < y {
		return -1
	}
	return 1
}
