package client

import (
	"context"
	"iter"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// Subscription delivers the entries of one conversation in order.
//
// The entries of one subscription are dense but for what its user may not read:
// a jump is taken only where the node, asked again from the missing entry,
// starts later.
type Subscription struct {
	c       *Client
	conv    chat.ConvID
	handler func([]chat.Entry)

	// Under the client's lock.
	next    chat.Seq // the next to be delivered; 0 while only the future was asked for
	started bool     // an entry came since the node's answer to the last opening
	state   subState
	ref     uint64 // of the opening that counts
	head    chat.Seq
	queue   []chat.Entry // delivered by Next
	bytes   int          // of its texts
	paused  bool         // the queue was full: closed at the node until it is half empty
	err     error        // why it ended
	tries   int
	changed chan struct{} // capacity 1: queue or err changed
}

type subState uint8

const (
	subClosed  subState = iota // nothing at the node
	subOpening                 // asked, entries are of an older opening
	subOpen
	subEnded
)

// subscribeTriesMax bounds the refusals "for now" in a row of one opening.
const subscribeTriesMax = 20

// Subscribe delivers conv from the seq given, 0 for only what is appended from
// now on. Entries are read with [Subscription.Next] or [Subscription.All].
func (c *Client) Subscribe(conv chat.ConvID, from chat.Seq) (*Subscription, error) {
	return c.subscribe(conv, from, nil)
}

// SubscribeFunc is Subscribe with a handler, which is called with one or more
// entries at a time on the goroutine that reads the connection. The entries may
// be kept, the slice may not.
func (c *Client) SubscribeFunc(conv chat.ConvID, from chat.Seq, handler func([]chat.Entry)) (*Subscription, error) {
	return c.subscribe(conv, from, handler)
}

func (c *Client) subscribe(conv chat.ConvID, from chat.Seq, handler func([]chat.Entry)) (*Subscription, error) {
	const op = "subscribe"
	if !chat.ValidID(string(conv)) {
		return nil, chat.E(op, chat.Invalid, "conv is no conversation id", nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.failed != nil:
		return nil, c.failed
	case c.subs[conv] != nil:
		return nil, chat.E(op, chat.Exists, "the conversation is subscribed to by this client already", nil)
	case len(c.subs) >= c.cfg.SubscriptionMax:
		return nil, chat.E(op, chat.Busy, "too many subscriptions", nil)
	}
	s := &Subscription{c: c, conv: conv, handler: handler, next: from, changed: make(chan struct{}, 1)}
	c.subs[conv] = s
	if c.conn != nil {
		s.openLocked()
	}
	return s, nil
}

// openLocked asks the node for everything from s.next on.
func (s *Subscription) openLocked() {
	if s.state == subEnded || s.paused {
		return
	}
	k := &call{op: "subscribe", once: true, req: wire.Request{Type: wire.Subscribe, Conv: s.conv, From: s.next}}
	k.done = func(r *wire.Reply, err error) { s.opened(k.req.Ref, r, err) }
	s.state, s.started = subOpening, false
	s.c.startCall(k)
	s.ref = k.req.Ref
}

// closeLocked notes that the connection is gone.
func (s *Subscription) closeLocked() {
	if s.state != subEnded {
		s.state = subClosed
		s.c.stats.Resubs++
	}
}

// opened takes the node's answer to an opening.
func (s *Subscription) opened(ref uint64, r *wire.Reply, err error) {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.ref != ref || s.state != subOpening {
		return // of an opening that does not count any more
	}
	if err != nil {
		s.tries++
		if again(chat.CodeOf(err)) && s.tries < subscribeTriesMax && c.failed == nil {
			s.state = subClosed
			s.reopenLater(retryAfter(err))
			return
		}
		s.endLocked(err)
		return
	}
	s.tries = 0
	s.state = subOpen
	s.head = max(s.head, r.Head)
	if s.next == 0 {
		s.next = max(r.From, r.Head+1)
	}
	s.signal()
}

// onEntries hands new entries to their subscription.
func (c *Client) onEntries(r *wire.Reply) {
	c.mu.Lock()
	s := c.subs[r.Conv]
	if s == nil || s.state != subOpen {
		c.mu.Unlock()
		return
	}
	s.head = max(s.head, r.Head)
	fresh, gap := s.freshLocked(r.Entries)
	handler := s.handler
	if handler == nil {
		s.keepLocked(fresh)
	} else if len(fresh) > 0 {
		s.next = fresh[len(fresh)-1].Seq + 1
	}
	if gap {
		c.stats.Gaps++
	}
	if gap && s.state == subOpen {
		c.stats.Resubs++
		s.openLocked()
	}
	c.mu.Unlock()
	if handler != nil && len(fresh) > 0 {
		handler(fresh)
	}
}

// freshLocked gives the entries that come next, without what was delivered
// before, up to the first that leaves one out. The first after an opening may
// be later than asked for: what is before it may not be read.
func (s *Subscription) freshLocked(entries []chat.Entry) (fresh []chat.Entry, gap bool) {
	for len(entries) > 0 && entries[0].Seq < s.next {
		s.c.stats.Duplicates++
		entries = entries[1:]
	}
	want := s.next
	for i := range entries {
		seq := entries[i].Seq
		if seq < want || seq > want && s.started {
			return entries[:i], true
		}
		s.started = true
		want = seq + 1
	}
	return entries, false
}

// reopenLater opens s again after a pause.
func (s *Subscription) reopenLater(pause time.Duration) {
	c := s.c
	pause = max(pause, jitter(c.cfg.BackoffMin, c.cfg.BackoffMax, s.tries))
	time.AfterFunc(pause, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conn != nil && s.state == subClosed {
			s.openLocked()
		}
	})
}

// keepLocked queues entries for Next. When the queue is full the rest is left
// to the node, which is asked again when there is room.
func (s *Subscription) keepLocked(entries []chat.Entry) {
	if len(entries) == 0 {
		return
	}
	if room := s.roomLocked(entries); room < len(entries) {
		entries = entries[:room]
		s.paused = true
		s.state = subClosed
		s.c.startCall(&call{op: "unsubscribe", once: true, req: wire.Request{Type: wire.Unsubscribe, Conv: s.conv}})
	}
	if len(entries) > 0 {
		s.queue = append(s.queue, entries...)
		for i := range entries {
			s.bytes += heldBytes(&entries[i])
		}
		s.next = entries[len(entries)-1].Seq + 1
		s.signal()
	}
}

// roomLocked is how many of the entries may be kept.
func (s *Subscription) roomLocked(entries []chat.Entry) int {
	bytes := s.bytes
	for i := range entries {
		bytes += heldBytes(&entries[i])
		switch kept := len(s.queue) + i; {
		case kept >= s.c.cfg.SubscriptionQueue, kept > 0 && bytes > s.c.cfg.SubscriptionBytes:
			return i
		}
	}
	return len(entries)
}

// heldBytes is the part of an entry that may be large.
func heldBytes(e *chat.Entry) int { return len(e.Body.Text) + 32*len(e.Body.Changes) }

func (s *Subscription) signal() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// onUnsubscribed ends a subscription that the node ended, as after a removal.
func (c *Client) onUnsubscribed(r *wire.Reply) {
	if r.Ref != 0 {
		c.answerCall(r)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.subs[r.Conv]
	if s == nil || s.state != subOpen {
		return
	}
	e := replyError("subscribe", r)
	if again(e.Code) {
		s.state = subClosed
		c.stats.Resubs++
		s.reopenLater(e.RetryAfter)
		return
	}
	s.endLocked(e)
}

// endLocked ends s with err; what is queued can still be read.
func (s *Subscription) endLocked(err error) {
	if s.state == subEnded {
		return
	}
	s.state, s.err = subEnded, err
	if s.c.subs[s.conv] == s {
		delete(s.c.subs, s.conv)
	}
	s.signal()
}

// Next gives the next entry. It waits for one until ctx or the subscription
// ends; the error of an ended subscription says why: not_found after the user
// was removed, canceled after Close.
func (s *Subscription) Next(ctx context.Context) (chat.Entry, error) {
	for {
		s.c.mu.Lock()
		if len(s.queue) > 0 {
			e := s.popLocked()
			s.c.mu.Unlock()
			return e, nil
		}
		err := s.err
		s.c.mu.Unlock()
		if err != nil {
			s.signal() // for another waiting reader
			return chat.Entry{}, err
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return chat.Entry{}, contextError(ctx, "subscription")
		}
	}
}

func (s *Subscription) popLocked() chat.Entry {
	e := s.queue[0]
	s.bytes -= heldBytes(&e)
	s.queue[0] = chat.Entry{}
	s.queue = s.queue[1:]
	if len(s.queue) == 0 {
		s.queue = nil
	} else {
		s.signal()
	}
	if s.paused && len(s.queue) <= s.c.cfg.SubscriptionQueue/2 && s.bytes <= s.c.cfg.SubscriptionBytes/2 {
		s.paused = false
		if s.c.conn != nil && s.state == subClosed {
			s.c.stats.Resubs++
			s.openLocked()
		}
	}
	return e
}

// All ranges over the entries until ctx or the subscription ends; the last step
// carries the error.
func (s *Subscription) All(ctx context.Context) iter.Seq2[chat.Entry, error] {
	return func(yield func(chat.Entry, error) bool) {
		for {
			e, err := s.Next(ctx)
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// Position is the seq that comes next and the newest head that the node told.
func (s *Subscription) Position() (next, head chat.Seq) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.next, s.head
}

// Ready waits until the node has taken the subscription (or ended it).
func (s *Subscription) Ready(ctx context.Context) error {
	for {
		s.c.mu.Lock()
		state, err := s.state, s.err
		s.c.mu.Unlock()
		switch state {
		case subOpen:
			s.signal()
			return nil
		case subEnded:
			s.signal()
			return err
		default:
		}
		select {
		case <-s.changed:
		case <-ctx.Done():
			return contextError(ctx, "subscribe")
		}
	}
}

// Err says why the subscription ended, nil while it lives.
func (s *Subscription) Err() error {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.err
}

// Close ends the subscription; the node is told.
func (s *Subscription) Close() {
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if s.state == subEnded {
		return
	}
	if c.conn != nil && c.failed == nil {
		c.startCall(&call{op: "unsubscribe", once: true, req: wire.Request{Type: wire.Unsubscribe, Conv: s.conv}})
	}
	s.endLocked(chat.E("subscription", chat.Canceled, "the subscription is closed", nil))
}
