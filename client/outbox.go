package client

import (
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// op is one send without an answer. It stands in two lists: the outbox, which
// holds all of a client in the order of the calls, and its lane.
type op struct {
	prev, next         *op // outbox
	lanePrev, laneNext *op
	lane               *lane
	ref                uint64
	wired              bool // written to the present connection, not yet answered there
	abandoned          bool // the caller gave up waiting
	maybe              bool // an earlier attempt may be appended yet
	deadline           time.Time
	msg                Message
	done               func(chat.Ack, error) // may be nil
}

// lane is the outbox of one conversation.
//
// Its ops before `unsent` are answered or on the wire, those from it on wait. A
// lane is broken from the first refusal that asks for another attempt until
// everything on its wire is answered; then all that is left is written again
// from the head, so that the order of the calls survives.
type lane struct {
	key        chat.ConvID
	head, tail *op
	unsent     *op
	onWire     int
	broken     bool
	ready      bool // stands in outbox.ready
	attempts   int  // refusals in a row
	notBefore  time.Time
	timer      *time.Timer // wakes a broken lane; nil when none is needed
}

// outbox owns the sends of a client. All of it is used under the client's lock.
type outbox struct {
	perConvMax int
	self       chat.UserID // as the node knows the client
	lanes      map[chat.ConvID]*lane
	head, tail *op
	slots      []*op // by the slot in a ref
	freeSlots  []uint32
	generation uint64
	free       []*op
	count      int
	bytes      int
	ready      []*lane // lanes with something to write
}

// A ref of a send is generation<<17 | slot<<1, that of a request is odd.
const (
	slotBits      = 16
	idleLanesMax  = 4096
	generationMax = 1 << 30
)

func newOutbox(perConvMax int) outbox {
	return outbox{perConvMax: perConvMax, lanes: make(map[chat.ConvID]*lane)}
}

func isSendRef(ref uint64) bool { return ref&1 == 0 }

// add puts m at the end of the outbox and of its lane.
func (b *outbox) add(m *Message, deadline time.Time, done func(chat.Ack, error)) *op {
	o := b.take()
	o.msg, o.deadline, o.done = *m, deadline, done
	l := b.lane(m)
	o.lane = l
	if b.tail == nil {
		b.head = o
	} else {
		b.tail.next, o.prev = o, b.tail
	}
	b.tail = o
	if l.tail == nil {
		l.head = o
	} else {
		l.tail.laneNext, o.lanePrev = o, l.tail
	}
	l.tail = o
	if l.unsent == nil {
		l.unsent = o
	}
	b.count++
	b.bytes += len(m.Text)
	return o
}

func (b *outbox) take() *op {
	var o *op
	if n := len(b.free); n > 0 {
		o = b.free[n-1]
		b.free = b.free[:n-1]
	} else {
		o = new(op)
	}
	var slot uint32
	if n := len(b.freeSlots); n > 0 {
		slot = b.freeSlots[n-1]
		b.freeSlots = b.freeSlots[:n-1]
	} else {
		slot = uint32(len(b.slots))
		b.slots = append(b.slots, nil)
	}
	b.generation = b.generation%generationMax + 1
	o.ref = b.generation<<(slotBits+1) | uint64(slot)<<1
	b.slots[slot] = o
	return o
}

func (b *outbox) lane(m *Message) *lane {
	key := m.conversation(b.self)
	if l := b.lanes[key]; l != nil {
		return l
	}
	l := &lane{key: key}
	b.lanes[key] = l
	return l
}

// find gives the op of a ref, nil when it has been answered.
func (b *outbox) find(ref uint64) *op {
	slot := ref >> 1 & (1<<slotBits - 1)
	if slot >= uint64(len(b.slots)) {
		return nil
	}
	if o := b.slots[slot]; o != nil && o.ref == ref {
		return o
	}
	return nil
}

// remove takes an answered or abandoned op out. The op must not be used after.
func (b *outbox) remove(o *op) {
	l := o.lane
	if o.wired {
		l.onWire--
	}
	if l.unsent == o {
		l.unsent = o.laneNext
	}
	unlink(&b.head, &b.tail, o)
	unlinkLane(l, o)
	b.count--
	b.bytes -= len(o.msg.Text)
	slot := uint32(o.ref >> 1 & (1<<slotBits - 1))
	b.slots[slot] = nil
	b.freeSlots = append(b.freeSlots, slot)
	*o = op{}
	b.free = append(b.free, o)
	if l.head == nil {
		l.attempts, l.broken, l.notBefore = 0, false, time.Time{}
		if !l.ready && len(b.lanes) > idleLanesMax {
			l.stop()
			delete(b.lanes, l.key)
		}
	}
}

func unlink(head, tail **op, o *op) {
	if o.prev == nil {
		*head = o.next
	} else {
		o.prev.next = o.next
	}
	if o.next == nil {
		*tail = o.prev
	} else {
		o.next.prev = o.prev
	}
}

func unlinkLane(l *lane, o *op) {
	if o.lanePrev == nil {
		l.head = o.laneNext
	} else {
		o.lanePrev.laneNext = o.laneNext
	}
	if o.laneNext == nil {
		l.tail = o.lanePrev
	} else {
		o.laneNext.lanePrev = o.lanePrev
	}
}

// writable reports whether the next unsent op of l may go on the wire.
func (b *outbox) writable(l *lane) bool {
	return l.unsent != nil && !l.broken && l.onWire < b.perConvMax
}

// markReady puts l where the writer looks.
func (b *outbox) markReady(l *lane) {
	if !l.ready && b.writable(l) {
		l.ready = true
		b.ready = append(b.ready, l)
	}
}

// request gives the frame of the next unsent op of l and counts it as written.
func (l *lane) request(r *wire.Request) {
	o := l.unsent
	*r = wire.Request{
		Type: wire.Send, Ref: o.ref, ID: o.msg.ID, Text: o.msg.Text, ContentType: o.msg.ContentType,
	}
	if o.msg.To != "" {
		r.To = o.msg.To
	} else {
		r.Conv = o.msg.Conv
	}
	if o.lanePrev != nil {
		r.After = o.lanePrev.msg.ID
	}
	o.wired = true
	l.onWire++
	l.unsent = o.laneNext
}

// refuse notes that o was refused for now: the lane stands still until its wire
// is empty and the pause is over.
func (l *lane) refuse(o *op, notBefore time.Time) {
	if o.wired {
		o.wired = false
		l.onWire--
	}
	l.broken = true
	if notBefore.After(l.notBefore) {
		l.notBefore = notBefore
	}
}

// mend lets a broken lane go again if it may; wait is the pause that is left
// when only time is missing.
func (l *lane) mend(now time.Time) (wait time.Duration) {
	if !l.broken || l.onWire > 0 {
		return 0
	}
	if d := l.notBefore.Sub(now); d > 0 {
		return d
	}
	l.broken = false
	l.notBefore = time.Time{}
	l.unsent = l.head
	return 0
}

func (l *lane) stop() {
	if l.timer != nil {
		l.timer.Stop()
		l.timer = nil
	}
}

// rewind forgets the connection: nothing is on the wire, everything is unsent.
func (b *outbox) rewind() {
	for o := b.head; o != nil; o = o.next {
		o.maybe = o.maybe || o.wired
		o.wired = false
	}
	b.ready = b.ready[:0]
	for _, l := range b.lanes {
		l.stop()
		l.onWire, l.broken, l.ready, l.notBefore = 0, false, false, time.Time{}
		l.unsent = l.head
	}
	// Lanes become ready in the order of their oldest op.
	for o := b.head; o != nil; o = o.next {
		b.markReady(o.lane)
	}
}
