package fsm

import (
	"encoding/binary"
	"hash/crc32"
	"slices"

	"github.com/chatnode/chatnode/chat"
)

// Stamp is what the proposing leader adds to a batch. Apply clamps the time, so
// that it never goes back within a conversation.
type Stamp struct {
	TimeMS int64 // Unix milliseconds
}

// A batch is the payload of one Raft entry, integers little-endian:
//
//	format u8 = 1 ‖ crc32c u32 (of all that follows) ‖ level u32 ‖ time_ms i64 ‖
//	count u32 ‖ count × { length u32 ‖ salt 16 ‖ command }
const (
	batchFormat   = 1
	batchHeader   = 1 + 4 + 4 + 8 + 4
	batchItem     = 4 + len(chat.Salt{})
	batchSumStart = 5
	batchMax      = batchHeader + BatchBytesMax + batchItem + CommandBytesMax
)

// BatchWriter builds batches. The zero value is ready; it is for one goroutine.
type BatchWriter struct {
	buf   []byte
	count int
	level Level
}

// Len is the number of commands added since the last Reset.
func (w *BatchWriter) Len() int { return w.count }

// Size is the number of bytes of the batch so far.
func (w *BatchWriter) Size() int { return max(len(w.buf), batchHeader) }

// Fits reports whether a command of size bytes may still be added. An empty
// batch takes any command up to [CommandBytesMax].
func (w *BatchWriter) Fits(size int) bool {
	if w.count == 0 {
		return size <= CommandBytesMax
	}
	return w.count < BatchCommandsMax && w.Size()+batchItem+size <= BatchBytesMax
}

// Grow makes room for count commands of size bytes together, so that adding them
// moves nothing.
func (w *BatchWriter) Grow(count, size int) {
	w.buf = slices.Grow(w.buf, batchHeader+count*batchItem+size)
}

// Add appends a command, checked by CheckCommand before. The caller asks
// [BatchWriter.Fits] first.
func (w *BatchWriter) Add(salt chat.Salt, cmd []byte) {
	if w.count == 0 {
		w.Reset()
		w.buf = append(w.buf, make([]byte, batchHeader)...)
	}
	if v, n := consumeVarint(cmd); n > 0 {
		w.level = max(w.level, LevelOf(Tag(v>>3)))
	}
	w.buf = binary.LittleEndian.AppendUint32(w.buf, uint32(len(cmd)))
	w.buf = append(w.buf, salt[:]...)
	w.buf = append(w.buf, cmd...)
	w.count++
}

// Finish seals the batch. The bytes are valid until the next Reset or Add after
// it; to keep them longer use [BatchWriter.Detach].
func (w *BatchWriter) Finish(at Stamp) []byte {
	if w.count == 0 {
		w.Reset()
		w.buf = append(w.buf, make([]byte, batchHeader)...)
	}
	b := w.buf
	b[0] = batchFormat
	binary.LittleEndian.PutUint32(b[5:], uint32(max(w.level, Level1)))
	binary.LittleEndian.PutUint64(b[9:], uint64(at.TimeMS))
	binary.LittleEndian.PutUint32(b[17:], uint32(w.count))
	binary.LittleEndian.PutUint32(b[1:], crc32.Checksum(b[batchSumStart:], castagnoli()))
	w.count = 0
	return b
}

// Detach is Finish for a payload that outlives the writer: the writer starts
// over without a buffer.
func (w *BatchWriter) Detach(at Stamp) []byte {
	b := w.Finish(at)
	w.buf = nil
	return b
}

// Reset starts an empty batch, keeping the buffer.
func (w *BatchWriter) Reset() { w.buf, w.count, w.level = w.buf[:0], 0, 0 }

// Batch is a decoded payload: a cursor over its commands.
type Batch struct {
	Level Level
	Stamp Stamp
	Count int
	rest  []byte
}

// ReadBatch verifies the checksum and the shape of a payload. Commands are read
// by [Batch.Next] and share the bytes of b.
func ReadBatch(b []byte) (Batch, error) {
	if len(b) < batchHeader || len(b) > batchMax || b[0] != batchFormat {
		return Batch{}, chat.E("read batch", chat.Corrupt, "not a batch of a known format", nil)
	}
	if crc32.Checksum(b[batchSumStart:], castagnoli()) != binary.LittleEndian.Uint32(b[1:]) {
		return Batch{}, chat.E("read batch", chat.Corrupt, "the checksum does not hold", nil)
	}
	out := Batch{
		Level: Level(binary.LittleEndian.Uint32(b[5:])),
		Stamp: Stamp{TimeMS: int64(binary.LittleEndian.Uint64(b[9:]))},
		rest:  b[batchHeader:],
	}
	n := binary.LittleEndian.Uint32(b[17:])
	if n > BatchCommandsMax {
		return Batch{}, chat.E("read batch", chat.Corrupt, "too many commands", nil)
	}
	out.Count = int(n)
	walk := out
	for range out.Count {
		if _, _, ok := walk.Next(); !ok {
			return Batch{}, chat.E("read batch", chat.Corrupt, "cut short", nil)
		}
	}
	if len(walk.rest) != 0 {
		return Batch{}, chat.E("read batch", chat.Corrupt, "bytes behind the last command", nil)
	}
	return out, nil
}

// Next returns the next command with its salt; ok is false at the end.
func (b *Batch) Next() (salt chat.Salt, cmd []byte, ok bool) {
	if len(b.rest) < batchItem {
		return salt, nil, false
	}
	n := uint64(binary.LittleEndian.Uint32(b.rest))
	if n > uint64(len(b.rest)-batchItem) {
		return salt, nil, false
	}
	copy(salt[:], b.rest[4:])
	cmd = b.rest[batchItem : batchItem+int(n)]
	b.rest = b.rest[batchItem+int(n):]
	return salt, cmd, true
}
