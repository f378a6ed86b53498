package peer

import (
	"runtime"
	"sync"
)

// ackEarly is how many received frames are acknowledged without waiting for
// items to send along.
const ackEarly = 2

// outbox gathers items into frames and sends them while the other side
// acknowledges: at most framesMax are on their way. Senders append straight to
// the frame that goes next.
type outbox struct {
	pool      *bytePool
	framesMax int
	bytesMax  int

	mu     sync.Mutex // guards all below, and what its owner says
	cur    *[]byte
	full   []*[]byte // closed frames, oldest first
	bytes  int       // waiting in cur and full
	sent   int       // frames not acknowledged
	owed   int       // received frames to acknowledge
	closed bool
	wake   chan struct{} // of depth 1
}

func (o *outbox) init(pool *bytePool, framesMax, bytesMax int) {
	o.pool, o.framesMax, o.bytesMax = pool, framesMax, bytesMax
	o.wake = make(chan struct{}, 1)
}

// putLocked appends an item; false means the outbox is full or closed. The
// caller holds the mutex and calls nudge after it has released it.
func (o *outbox) putLocked(kind byte, id uint64, head, tail []byte) bool {
	size := len(head) + len(tail) + 16
	if o.closed || o.bytes+size > o.bytesMax {
		return false
	}
	if o.cur != nil && len(*o.cur)+size > frameBytesSoft {
		o.full = append(o.full, o.cur)
		o.cur = nil
	}
	if o.cur == nil {
		o.cur = o.pool.Get(1) // the place of the acknowledgement
	}
	before := len(*o.cur)
	*o.cur = appendItem(*o.cur, kind, id, head, tail)
	o.bytes += len(*o.cur) - before
	return true
}

func (o *outbox) put(kind byte, id uint64, head, tail []byte) bool {
	o.mu.Lock()
	ok := o.putLocked(kind, id, head, tail)
	o.mu.Unlock()
	o.nudge()
	return ok
}

func (o *outbox) nudge() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// received books a frame from the other side: its acknowledgements, and one
// that is owed for it when it holds items.
func (o *outbox) received(b []byte) {
	acks := b[0]
	o.mu.Lock()
	o.sent = max(o.sent-int(acks), 0)
	if len(b) > 1 {
		o.owed++
	}
	look := o.owed >= ackEarly || acks > 0 && o.bytes > 0
	o.mu.Unlock()
	if look {
		o.nudge()
	}
}

// take gives the next frame to send, nil when there is none that may go.
func (o *outbox) take() *[]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	var f *[]byte
	switch {
	case o.sent < o.framesMax && len(o.full) > 0:
		f = o.full[0]
		o.full[0] = nil
		o.full = o.full[1:]
	case o.sent < o.framesMax && o.cur != nil:
		f, o.cur = o.cur, nil
	case o.owed >= ackEarly:
		f = o.pool.Get(1) // an acknowledgement alone is not acknowledged
		(*f)[0] = byte(min(o.owed, 255))
		o.owed -= int((*f)[0])
		return f
	default:
		return nil
	}
	o.bytes -= len(*f) - 1
	o.sent++
	(*f)[0] = byte(min(o.owed, 255))
	o.owed -= int((*f)[0])
	return f
}

// run sends until send fails or done is closed. It is the only sender.
func (o *outbox) run(done <-chan struct{}, send func(*frame) error) {
	var msg frame
	for {
		select {
		case <-done:
			return
		case <-o.wake:
		}
		runtime.Gosched() // those who are about to append shall get along
		for f := o.take(); f != nil; f = o.take() {
			msg.out = f
			if send(&msg) != nil {
				return
			}
		}
	}
}
