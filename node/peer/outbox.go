package peer

import (
	"runtime"
	"sync"
)

// ackEarly is how many received frames are acknowledged without waiting for
// items to send along. A frame that only acknowledges costs as much as one full
// of answers, so it comes when half of the default's frames are owed; a node
// with a lower cap than this would wait for it for ever.
const ackEarly = 8

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
	asleep bool      // the sender waits for something that may go
	wake   sync.Cond // of the sender
}

func (o *outbox) init(pool *bytePool, framesMax, bytesMax int) {
	o.pool, o.framesMax, o.bytesMax = pool, framesMax, bytesMax
	o.wake.L = &o.mu
}

// putLocked appends an item; false means the outbox is full or closed. The
// caller holds the mutex and releases it with unlock.
func (o *outbox) putLocked(kind byte, id uint64, head, tail []byte) bool {
	return o.appendLocked(o.bytesMax, kind, id, head, tail)
}

// insistLocked is putLocked for what is small and must not get lost: it may use
// half as much again.
func (o *outbox) insistLocked(kind byte, id uint64, head, tail []byte) {
	o.appendLocked(o.bytesMax+o.bytesMax/2, kind, id, head, tail)
}

func (o *outbox) appendLocked(bytesMax int, kind byte, id uint64, head, tail []byte) bool {
	size := len(head) + len(tail) + 16
	if o.closed || o.bytes+size > bytesMax {
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
	o.unlock()
	return ok
}

// unlock releases the mutex and wakes the sender, once, when there is something
// that may go.
func (o *outbox) unlock() {
	wake := o.asleep && (o.closed || o.mayGo() || o.mustAck())
	if wake {
		o.asleep = false
	}
	o.mu.Unlock()
	if wake {
		o.wake.Signal()
	}
}

func (o *outbox) mayGo() bool   { return o.sent < o.framesMax && (o.cur != nil || len(o.full) > 0) }
func (o *outbox) mustAck() bool { return o.owed >= ackEarly }

// close ends run.
func (o *outbox) close() {
	o.mu.Lock()
	o.closed = true
	o.unlock()
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
	o.unlock()
}

// await waits until something may go; false means the outbox is closed.
func (o *outbox) await() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for !o.closed && !o.mayGo() && !o.mustAck() {
		o.asleep = true
		o.wake.Wait()
	}
	o.asleep = false
	return !o.closed
}

// take gives the next frame to send, nil when there is none that may go.
func (o *outbox) take() *[]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	var f *[]byte
	switch {
	case o.closed:
		return nil
	case !o.mayGo() && !o.mustAck():
		return nil
	case !o.mayGo():
		f = o.pool.Get(1) // an acknowledgement alone is not acknowledged
	case len(o.full) > 0:
		f = o.full[0]
		o.full[0] = nil
		o.full = o.full[1:]
		o.sent++
	default:
		f, o.cur = o.cur, nil
		o.sent++
	}
	o.bytes -= len(*f) - 1
	(*f)[0] = byte(min(o.owed, 255))
	o.owed -= int((*f)[0])
	return f
}

// run sends until send fails or the outbox is closed. It is the only sender.
func (o *outbox) run(send func(*frame) error) {
	var msg frame
	for o.await() {
		runtime.Gosched() // those who are about to append shall get along
		for f := o.take(); f != nil; f = o.take() {
			msg.out = f
			if send(&msg) != nil {
				return
			}
		}
	}
}
