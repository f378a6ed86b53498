package store

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

// The rows of the store itself are the first of a group's range:
//
//	group u32 BE | 0x00 | 'a'   crc32c u32 | format u8 | index u64 | term u64 | rows u64 | bytes u64
//	group u32 BE | 0x00 | 'c'   crc32c u32 | index u64 | configuration
//
// Everything from group | 0x01 on belongs to the group's machine.
const (
	appliedBytes = 4 + 1 + 4*8
	rowFormat    = 1
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

func crcOf(b []byte) uint32 { return crc32.Checksum(b, crcTable) }

// groupKey is the lower bound of a group's range.
func groupKey(g shard.GroupID) []byte {
	return binary.BigEndian.AppendUint32(nil, uint32(g))
}

// groupSpan is the range of all keys of a group, the store's rows included.
func groupSpan(g shard.GroupID) (lower, upper []byte) {
	return groupKey(g), groupKey(g + 1)
}

// machineLower is the first key that a machine may use.
func machineLower(g shard.GroupID) []byte {
	return fsm.AppendPrefix(nil, uint32(g), fsm.AreaStore+1)
}

func appliedKey(g shard.GroupID) []byte {
	return append(fsm.AppendPrefix(nil, uint32(g), fsm.AreaStore), 'a')
}

func configurationKey(g shard.GroupID) []byte {
	return append(fsm.AppendPrefix(nil, uint32(g), fsm.AreaStore), 'c')
}

// position is the content of the applied row: how far the group is applied, and
// an upper bound of what a snapshot of it holds.
type position struct {
	index, term uint64
	rows, bytes uint64 // of machine rows ever set since the last exact count
}

func (p position) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, rowFormat)
	for _, v := range [...]uint64{p.index, p.term, p.rows, p.bytes} {
		dst = binary.BigEndian.AppendUint64(dst, v)
	}
	binary.BigEndian.PutUint32(dst[start:], crcOf(dst[start+4:]))
	return dst
}

func readPosition(b []byte) (position, error) {
	if len(b) != appliedBytes || b[4] != rowFormat || binary.BigEndian.Uint32(b) != crcOf(b[4:]) {
		return position{}, corrupt("applied row", nil)
	}
	u := func(i int) uint64 { return binary.BigEndian.Uint64(b[5+8*i:]) }
	return position{index: u(0), term: u(1), rows: u(2), bytes: u(3)}, nil
}

// configuration is a group's membership as the consensus layer encodes it.
type configuration struct {
	index uint64
	data  []byte
}

func (c configuration) appendTo(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, c.index)
	dst = append(dst, c.data...)
	binary.BigEndian.PutUint32(dst[start:], crcOf(dst[start+4:]))
	return dst
}

func readConfiguration(b []byte) (configuration, error) {
	if len(b) < 12 || binary.BigEndian.Uint32(b) != crcOf(b[4:]) {
		return configuration{}, corrupt("configuration row", nil)
	}
	return configuration{
		index: binary.BigEndian.Uint64(b[4:]),
		data:  append([]byte(nil), b[12:]...),
	}, nil
}

// rowBytes is the size of a row in a snapshot stream: key without the group's
// prefix, value, and the two lengths.
func rowBytes(key, val int) uint64 {
	return uint64(uvarintLen(uint64(key)) + uvarintLen(uint64(val)) + key + val)
}
