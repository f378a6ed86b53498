package client

import (
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// callBytes is a sixth of the largest request that is no send, with 100 users and a title.
const callBytes = 2 << 10

// frameSlack is what an object of a send takes besides its text, at most.
const frameSlack = 1024

// fill moves what may be written into the pending frame and wakes the writer.
// It is called under the lock.
func (c *Client) fill() {
	cn := c.conn
	if cn == nil {
		return
	}
	due := 1
	if cn.corked {
		due = corkObjects
	}
	before := cn.objects
	c.fillQuiet(cn)
	if before < due && cn.objects >= due {
		cn.signal()
	}
}

// fillQuiet is fill for the writer itself.
func (c *Client) fillQuiet(cn *conn) {
	if c.conn != cn {
		return
	}
	if cn.asks && c.roomFor(cn, 0) { // not in the line: all that is written may wait for a quorum
		cn.asks = false
		cn.append(&wire.Request{Type: wire.Ping})
	}
	for len(c.callWait) > 0 && c.onWire < c.cfg.RequestsMax && c.roomFor(cn, callBytes) {
		k := c.callWait[0]
		c.callWait = c.callWait[1:]
		if c.calls[k.req.Ref] != k {
			continue // answered or abandoned meanwhile
		}
		k.wired = true
		c.onWire++
		cn.append(&k.req)
	}
	done := 0
	for _, l := range c.box.ready {
		if !c.fillLane(cn, l) {
			break
		}
		l.ready = false
		done++
	}
	c.box.ready = c.box.ready[:copy(c.box.ready, c.box.ready[done:])]
}

// fillLane writes what it may of one lane; false when the frame is full.
func (c *Client) fillLane(cn *conn, l *lane) bool {
	for c.box.writable(l) {
		if !c.roomFor(cn, len(l.unsent.msg.Text)) {
			return false
		}
		l.request(&c.request)
		cn.append(&c.request)
	}
	return true
}

// roomFor reports whether an object with a text of n bytes may join the frame:
// in the worst case each byte of it is escaped to six.
func (c *Client) roomFor(cn *conn, n int) bool {
	if cn.objects == 0 {
		return true
	}
	return cn.objects < wire.FrameObjectsMax &&
		len(cn.pend) < c.cfg.FrameBytesMax &&
		len(cn.pend)+6*n+frameSlack < wire.FrameBytesMax
}

func (cn *conn) append(r *wire.Request) {
	if cn.objects == 0 {
		cn.pend = append(cn.pend[:0], '[')
	} else {
		cn.pend = append(cn.pend, ',')
	}
	cn.pend = wire.AppendRequest(cn.pend, r)
	cn.objects++
}

// settleAcks answers the sends of the gathered acks and refills the wire before
// the callbacks run, so that the node is not left without work.
func (c *Client) settleAcks(cn *conn) {
	if len(cn.acks) == 0 {
		return
	}
	c.mu.Lock()
	for i := range cn.acks {
		a := &cn.acks[i]
		o := c.box.find(a.ref)
		if o == nil {
			continue // abandoned at its deadline
		}
		cn.filled = append(cn.filled, finished{done: o.done, ack: a.ack})
		o.lane.attempts = 0
		l := o.lane
		c.box.remove(o)
		c.settle(l)
	}
	c.wakeWaiters(len(cn.acks))
	c.fill()
	cn.corked = true
	c.mu.Unlock()
	cn.acks = cn.acks[:0]
	for i := range cn.filled {
		cn.filled[i].run()
		cn.filled[i] = finished{}
	}
	cn.filled = cn.filled[:0]
	c.mu.Lock()
	if cn.corked = false; cn.objects > 0 && cn.objects < corkObjects {
		cn.signal()
	}
	c.mu.Unlock()
}

// corkObjects is how many sends wait for the callbacks of one frame to return,
// so that what these send leaves together.
const corkObjects = 32

// settle lets a lane go on after one of its ops was answered.
func (c *Client) settle(l *lane) {
	if l.broken {
		if wait := l.mend(time.Now()); wait > 0 && l.timer == nil {
			l.timer = time.AfterFunc(wait, func() { c.wakeLane(l) })
		}
	}
	c.box.markReady(l)
}

// wakeLane runs when the pause of a broken lane is over.
func (c *Client) wakeLane(l *lane) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l.timer = nil
	if l.head == nil {
		return
	}
	c.settle(l)
	c.fill()
}

// onError takes a refusal: of a request, of a send for good, or for now.
func (c *Client) onError(r *wire.Reply) {
	if r.Ref == 0 {
		c.log.Warn("node refused a frame", "code", string(r.Code), "msg", r.Message)
		return
	}
	if !isSendRef(r.Ref) {
		c.answerCall(r)
		return
	}
	err := replyError("send", r)
	c.mu.Lock()
	o := c.box.find(r.Ref)
	if o == nil {
		c.mu.Unlock()
		return
	}
	l := o.lane
	o.maybe = o.maybe || ambiguous(err.Code)
	if again(err.Code) && (!o.abandoned || o.maybe) {
		c.stats.Refused++
		pause := err.RetryAfter
		if err.Code != chat.PredecessorAbsent || l.attempts > 0 {
			pause = max(pause, jitter(c.cfg.BackoffMin, c.cfg.BackoffMax, l.attempts))
		}
		if !l.broken {
			l.attempts++
		}
		l.refuse(o, time.Now().Add(pause))
		c.settle(l)
		c.fill()
		c.mu.Unlock()
		return
	}
	f := finished{done: o.done, err: err}
	c.dropOp(o)
	c.fill()
	c.mu.Unlock()
	f.run()
}

// again reports whether the client repeats what was refused with this code. A
// full disk is for people to hear of at once.
func again(code chat.Code) bool {
	return code != chat.DiskFull && wire.FaultOf(code).Retry
}

// ambiguous reports whether a send that was refused with this code may be appended
// all the same, now or later.
func ambiguous(code chat.Code) bool {
	switch code {
	case chat.Unavailable, chat.Timeout, chat.Internal, chat.ShuttingDn, chat.Canceled:
		return true
	default:
		return false
	}
}

// armExpiry sets the timer for the oldest send.
func (c *Client) armExpiry(now time.Time) {
	if c.expiry == nil {
		c.expiry = time.AfterFunc(c.cfg.SendTimeout, c.expire)
		return
	}
	if c.box.count == 1 {
		c.expiry.Reset(c.box.head.deadline.Sub(now))
	}
}

// expire fails the sends that are past their deadline.
func (c *Client) expire() {
	var due []finished
	c.mu.Lock()
	now := time.Now()
	for c.box.head != nil && !c.box.head.deadline.After(now) {
		o := c.box.head
		due = append(due, finished{done: o.done, err: chat.E("send", chat.Unavailable,
			"no answer in time; it may have been appended, send it again with the same id", nil)})
		c.dropOp(o)
	}
	if c.box.head != nil && c.failed == nil {
		c.expiry.Reset(c.box.head.deadline.Sub(now))
	}
	c.fill()
	c.mu.Unlock()
	for i := range due {
		due[i].run()
	}
}
