package fsm

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/chatnode/chatnode/chat"
)

// Every key of a group begins with the group (u32, big-endian) and one byte
// that says whose rows follow, so that no two owners can collide.
const (
	AreaStore byte = 0x00 // the store's own: applied index, configuration, …
	AreaGroup byte = 0x01 // rows of the machine about the whole group: level
	AreaConv  byte = 0x02 // conversations: hash64 (slot first) ‖ idhash ‖ kind ‖ …
	AreaMeta  byte = 0x03 // rows of the meta machine
)

// GroupBytes is the length of the group's prefix of every key. Checksums cover
// the key without it, so that rows can move to another group as they are.
const GroupBytes = 4

// AppendPrefix appends a group's prefix and an area to dst.
func AppendPrefix(dst []byte, group uint32, area byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, group), area)
}

// LevelKey is the key of the group's level.
func LevelKey(group uint32) []byte {
	return append(AppendPrefix(nil, group, AreaGroup), 'L')
}

// SumBytes is the length of the checksum that ends every stored value.
const SumBytes = 4

// castagnoli is the polynomial of every checksum here. MakeTable returns the
// library's shared table, which the processor's instruction serves.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// RowSum is the checksum of a row: CRC-32C of the key without the group's
// prefix, then of the value.
func RowSum(key, val []byte) uint32 {
	t := castagnoli()
	return crc32.Update(crc32.Update(0, t, key[GroupBytes:]), t, val)
}

// Seal appends the row's checksum to val.
func Seal(key, val []byte) []byte {
	return binary.LittleEndian.AppendUint32(val, RowSum(key, val))
}

// Open verifies a stored value and returns it without its checksum.
func Open(key, val []byte) ([]byte, error) {
	n := len(val) - SumBytes
	if n < 0 || len(key) < GroupBytes {
		return nil, chat.E("read row", chat.Corrupt, "a stored row is too short for its checksum", nil)
	}
	if RowSum(key, val[:n]) != binary.LittleEndian.Uint32(val[n:]) {
		return nil, chat.E("read row", chat.Corrupt, "a stored row does not match its checksum", nil)
	}
	return val[:n], nil
}
