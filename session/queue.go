package session

import "github.com/chatnode/chatnode/wire"

// queue holds what goes out: frames that are full, and the one being filled.
type queue struct {
	full  [][]byte
	bytes int // of full
	cur   wire.Frames
	limit int // bytes near which a frame is full
	taken uint64
}

// number is that of the frame that is being filled: as many are taken when it is.
func (q *queue) number() uint64 { return q.taken + uint64(len(q.full)) + 1 }

// size is the number of bytes that wait.
func (q *queue) size() int { return q.bytes + q.cur.Len() }

func (q *queue) empty() bool { return len(q.full) == 0 && q.cur.Count() == 0 }

// begin gives the buffer to append the next object to; commit takes it back.
func (q *queue) begin() []byte {
	if q.cur.Count() >= wire.FrameObjectsMax || q.cur.Len() >= q.frameBytes() {
		b := q.cur.Bytes()
		q.full = append(q.full, b)
		q.bytes += len(b)
		q.cur.Reset(nil)
	}
	return q.cur.Begin()
}

func (q *queue) frameBytes() int {
	if q.limit > 0 {
		return q.limit
	}
	return 32 << 10
}

func (q *queue) commit(buf []byte) { q.cur.Commit(buf) }

// take gives the oldest frame and begins a new one in spare when the one being
// filled is given.
func (q *queue) take(spare []byte) []byte {
	if len(q.full) > 0 {
		b := q.full[0]
		q.full[0] = nil
		q.full = q.full[1:]
		if len(q.full) == 0 {
			q.full = nil
		}
		q.bytes -= len(b)
		q.taken++
		return b
	}
	if q.cur.Count() == 0 {
		return nil
	}
	b := q.cur.Bytes()
	q.taken++
	q.cur.Reset(spare)
	return b
}
