package pebblelog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// Rows, integers big-endian:
//
//	group u32 | 'l' | index u64   crc32c u32 | type u8 | term u64 | time i64 | length u32 | extensions | data
//	group u32 | 's' | key         crc32c u32 | value
//
// The checksum covers the key, too.
const (
	entryKeyBytes = 4 + 1 + 8
	entryHead     = 4 + 1 + 8 + 8 + 4
	entryArea     = 'l'
	stableArea    = 's'
)

func entryKey(b []byte, g shard.GroupID, index uint64) []byte {
	b = append(binary.BigEndian.AppendUint32(b, uint32(g)), entryArea)
	return binary.BigEndian.AppendUint64(b, index)
}

func stableKey(g shard.GroupID, key []byte) []byte {
	b := append(binary.BigEndian.AppendUint32(make([]byte, 0, 5+len(key)), uint32(g)), stableArea)
	return append(b, key...)
}

func sum(key, val []byte) uint32 {
	t := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(key, t), t, val)
}

func putEntry(dst, key []byte, e *store.LogEntry) {
	dst[4] = e.Type
	binary.BigEndian.PutUint64(dst[5:], e.Term)
	binary.BigEndian.PutUint64(dst[13:], uint64(e.AppendedAtNS))
	binary.BigEndian.PutUint32(dst[21:], uint32(len(e.Extensions)))
	n := copy(dst[entryHead:], e.Extensions)
	copy(dst[entryHead+n:], e.Data)
	binary.BigEndian.PutUint32(dst, sum(key, dst[4:]))
}

// readEntry copies, since val belongs to Pebble.
func readEntry(key, val []byte, index uint64, into *store.LogEntry) error {
	if len(val) < entryHead || binary.BigEndian.Uint32(val) != sum(key, val[4:]) {
		return store.Corrupt("log entry", nil)
	}
	ext := binary.BigEndian.Uint32(val[21:])
	if uint64(ext) > uint64(len(val)-entryHead) {
		return store.Corrupt("log entry", nil)
	}
	body := append([]byte(nil), val[entryHead:]...)
	*into = store.LogEntry{
		Index:        index,
		Type:         val[4],
		Term:         binary.BigEndian.Uint64(val[5:]),
		AppendedAtNS: int64(binary.BigEndian.Uint64(val[13:])),
		Extensions:   body[:ext:ext],
		Data:         body[ext:],
	}
	if ext == 0 {
		into.Extensions = nil
	}
	return nil
}
