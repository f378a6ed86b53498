package seglog

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// A segment file is a header, then blocks that begin at multiples of 8. A block
// is a header and records. Integers are little-endian.
//
//	segment  magic 8 | format u32 | number u64 | salt 16 | crc32c u32        (first 4,096 bytes)
//	block    magic u32 | flags u32 | number u64 | durable u64 | length u32 | sums u32 | crc32c u32 | 0 u32
//	record   crc32c u32 | length u32 | kind u8 | type u8 | 0 u16 | extensions u32 | group u32 |
//	         index u64 | term u64 | time i64 | extensions | data
//
// Every checksum but the segment's begins with the checksum of the salt. sums is
// the checksum of the block's record checksums; that of a record covers the rest
// of the record.
const (
	segMagic     = "CNLOGSEG"
	segFormat    = 1
	segHeadBytes = 4096
	segHeadUsed  = 8 + 4 + 8 + 16 + 4

	blockMagic     = 0x4b4c4243 // "CBLK"
	blockHeadBytes = 40
	blockAlign     = 8
	flagSealed     = 1 // the last block of a segment

	recordHeadBytes = 44
	recordSumBytes  = 4
)

// recordKind says what a record does. Numbers are stored and never re-used.
type recordKind uint8

const (
	kindEntry      recordKind = 1 // the next entry of a group
	kindCopy       recordKind = 2 // an entry again, copied forward
	kindBounds     recordKind = 3 // after a deletion: index = first, term = last
	kindStable     recordKind = 4 // key length u16 | key | value
	kindDrop       recordKind = 5
	kindCheckpoint recordKind = 6
)

var crcTable = crc32.MakeTable(crc32.Castagnoli)

// segHeader identifies one use of a segment file.
type segHeader struct {
	number uint64
	salt   [16]byte
}

func (h segHeader) seed() uint32 { return crc32.Checksum(h.salt[:], crcTable) }

func (h segHeader) encode() []byte {
	b := make([]byte, 0, segHeadBytes)
	b = append(b, segMagic...)
	b = binary.LittleEndian.AppendUint32(b, segFormat)
	b = binary.LittleEndian.AppendUint64(b, h.number)
	b = append(b, h.salt[:]...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, crcTable))
	return b[:segHeadBytes]
}

func readSegHeader(b []byte) (h segHeader, ok bool) {
	if len(b) < segHeadBytes || string(b[:8]) != segMagic ||
		binary.LittleEndian.Uint32(b[8:]) != segFormat ||
		binary.LittleEndian.Uint32(b[segHeadUsed-4:]) != crc32.Checksum(b[:segHeadUsed-4], crcTable) {
		return h, false
	}
	h.number = binary.LittleEndian.Uint64(b[12:])
	copy(h.salt[:], b[20:])
	for _, z := range b[segHeadUsed:segHeadBytes] {
		if z != 0 {
			return h, false
		}
	}
	return h, true
}

type blockHeader struct {
	flags   uint32
	number  uint64
	durable uint64
	length  uint32 // of the records
	sums    uint32
}

// put writes the header into the first bytes of b.
func (h blockHeader) put(b []byte, seed uint32) {
	binary.LittleEndian.PutUint32(b, blockMagic)
	binary.LittleEndian.PutUint32(b[4:], h.flags)
	binary.LittleEndian.PutUint64(b[8:], h.number)
	binary.LittleEndian.PutUint64(b[16:], h.durable)
	binary.LittleEndian.PutUint32(b[24:], h.length)
	binary.LittleEndian.PutUint32(b[28:], h.sums)
	binary.LittleEndian.PutUint32(b[32:], crc32.Update(seed, crcTable, b[:32]))
	binary.LittleEndian.PutUint32(b[36:], 0)
}

func readBlockHeader(b []byte, seed uint32) (h blockHeader, ok bool) {
	if len(b) < blockHeadBytes || binary.LittleEndian.Uint32(b) != blockMagic ||
		binary.LittleEndian.Uint32(b[32:]) != crc32.Update(seed, crcTable, b[:32]) ||
		binary.LittleEndian.Uint32(b[36:]) != 0 {
		return h, false
	}
	return blockHeader{
		flags:   binary.LittleEndian.Uint32(b[4:]),
		number:  binary.LittleEndian.Uint64(b[8:]),
		durable: binary.LittleEndian.Uint64(b[16:]),
		length:  binary.LittleEndian.Uint32(b[24:]),
		sums:    binary.LittleEndian.Uint32(b[28:]),
	}, true
}

// record is one decoded record; its slices are those of what it was read from.
type record struct {
	kind  recordKind
	group shard.GroupID
	entry store.LogEntry
}

func recordBytes(e *store.LogEntry) int {
	return recordHeadBytes + len(e.Extensions) + len(e.Data)
}

// appendRecord appends a record, which begins with its checksum.
func appendRecord(b []byte, seed uint32, kind recordKind, g shard.GroupID, e *store.LogEntry) []byte {
	start := len(b)
	b = b[:start+recordHeadBytes]
	h := b[start:]
	binary.LittleEndian.PutUint32(h[4:], uint32(len(e.Extensions)+len(e.Data)))
	h[8], h[9], h[10], h[11] = byte(kind), e.Type, 0, 0
	binary.LittleEndian.PutUint32(h[12:], uint32(len(e.Extensions)))
	binary.LittleEndian.PutUint32(h[16:], uint32(g))
	binary.LittleEndian.PutUint64(h[20:], e.Index)
	binary.LittleEndian.PutUint64(h[28:], e.Term)
	binary.LittleEndian.PutUint64(h[36:], uint64(e.AppendedAtNS))
	b = append(append(b, e.Extensions...), e.Data...)
	binary.LittleEndian.PutUint32(b[start:], crc32.Update(seed, crcTable, b[start+recordSumBytes:]))
	return b
}

// readRecord decodes the first record of b. sum is its checksum; n its length.
func readRecord(b []byte, seed uint32, verify bool) (r record, sum uint32, n int, ok bool) {
	if len(b) < recordHeadBytes {
		return r, 0, 0, false
	}
	body := uint64(binary.LittleEndian.Uint32(b[4:]))
	ext := uint64(binary.LittleEndian.Uint32(b[12:]))
	if body > uint64(len(b)-recordHeadBytes) || ext > body {
		return r, 0, 0, false
	}
	n = recordHeadBytes + int(body)
	sum = binary.LittleEndian.Uint32(b)
	if verify && sum != crc32.Update(seed, crcTable, b[4:n]) {
		return r, 0, 0, false
	}
	r.kind = recordKind(b[8])
	r.group = shard.GroupID(binary.LittleEndian.Uint32(b[16:]))
	cut := recordHeadBytes + int(ext)
	r.entry = store.LogEntry{
		Index:        binary.LittleEndian.Uint64(b[20:]),
		Term:         binary.LittleEndian.Uint64(b[28:]),
		Type:         b[9],
		Data:         b[cut:n:n],
		AppendedAtNS: int64(binary.LittleEndian.Uint64(b[36:])),
	}
	if ext > 0 {
		r.entry.Extensions = b[recordHeadBytes:cut:cut]
	}
	return r, sum, n, true
}

// appendStable and readStable hold the payload of a stable value.
func appendStable(b, key, val []byte) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(len(key)))
	return append(append(b, key...), val...)
}

func readStable(b []byte) (key, val []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.LittleEndian.Uint16(b))
	if n > len(b)-2 {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}
