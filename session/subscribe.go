package session

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/wire"
)

// sub is one subscription. Its fields are guarded by the session's lock.
type sub struct {
	s      *Session
	conv   chat.ConvID
	tail   Tail
	cursor chat.Seq // the newest entry handed out, or known to be hidden
	since  chat.Seq // the user may see everything from here on, until removed
	member chat.Seq // the user was a member here: only a later removal ends it
	open   bool     // the first read has answered
	queued bool     // in the list of what may have something
	reads  bool     // a read of the log is on its way
	tries  int      // of the present read that were cut short; its own
	gone   bool
}

// moved is called by the tail.
func (b *sub) moved() {
	s := b.s
	s.mu.Lock()
	s.enqueue(b)
	s.unlockAndWake()
}

// enqueue lists a subscription to be looked at by Take. The lock is held.
func (s *Session) enqueue(b *sub) {
	if b.gone || b.queued || b.reads || !b.open || s.state >= ending {
		return
	}
	b.queued = true
	s.ready = append(s.ready, b)
}

// subscribe opens a subscription, or moves the cursor of one.
func (s *Session) subscribe(req *wire.Request) {
	ref, from := req.Ref, req.From
	s.mu.Lock()
	old := s.subs[req.Conv]
	if old == nil && len(s.subs) >= s.cfg.SubscriptionsMax {
		s.refuseLocked(ref, chat.E("subscribe", chat.TooLarge, "too many subscriptions on this connection", nil))
		s.unlockAndWake()
		return
	}
	b := &sub{s: s, conv: chat.ConvID(strings.Clone(string(req.Conv)))}
	s.forget(old)
	s.subs[b.conv] = b
	s.mu.Unlock()
	if old != nil {
		old.tail.Close()
	}
	// The tail is open before the log is read, so that nothing falls between.
	tail := s.deps.Tails(b.conv, b.moved)
	s.mu.Lock()
	b.tail = tail
	lost := b.gone || s.state == closed
	s.mu.Unlock()
	if lost {
		tail.Close()
		return
	}
	if !s.askFirst(b, ref, from) {
		s.stop(b)
		s.refuse(ref, busy("subscribe", "too many requests wait for their answer"))
	}
}

// forget takes a subscription out of the lists. The lock is held.
func (s *Session) forget(b *sub) {
	if b == nil || b.gone {
		return
	}
	b.gone = true
	if s.subs[b.conv] == b {
		delete(s.subs, b.conv)
	}
}

// stop ends a subscription and lets its tail go.
func (s *Session) stop(b *sub) {
	s.mu.Lock()
	was := b.gone
	s.forget(b)
	s.mu.Unlock()
	if !was {
		b.tail.Close()
	}
}

func (s *Session) unsubscribe(req *wire.Request) {
	s.mu.Lock()
	b := s.subs[req.Conv]
	s.mu.Unlock()
	if b != nil {
		s.stop(b)
	}
	s.reply(&wire.Reply{Type: wire.Unsubscribed, Ref: req.Ref, Conv: req.Conv})
}

// askFirst queues the first read of a subscription. A client that comes back
// makes all its subscriptions at once, so they have a bound of their own.
func (s *Session) askFirst(b *sub, ref uint64, from chat.Seq) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.first.jobs)+len(s.late.jobs) >= s.cfg.SubscriptionsMax+s.cfg.RequestsMax || s.state != live {
		return false
	}
	at := s.arrived()
	s.queueJob(&s.first, func() { s.begin(b, ref, from, at) })
	return true
}

// begin makes the first read of a subscription: it checks access and answers.
func (s *Session) begin(b *sub, ref uint64, from chat.Seq, at arrival) {
	if s.replaced(b) {
		s.reply(&wire.Reply{Type: wire.Unsubscribed, Ref: ref, Conv: b.conv})
		return
	}
	q := conv.Query{Conv: b.conv, User: s.who.User, Mode: conv.Latest, Limit: 1}
	if from > 0 {
		q.Mode, q.Seq, q.Limit, q.Bytes = conv.After, from-1, chat.PageEntriesMax, s.cfg.CatchUpBytes
	}
	page, cut, err := s.page(b, q, s.left(at))
	if cut {
		s.tryLater(func() { s.begin(b, ref, from, at) })
		return
	}
	since, member := openInterval(page.Visible)
	switch {
	case err != nil:
	case !member:
		err = chat.E("subscribe", chat.NotFound, "no such conversation, or not a member of it", nil)
	case from > page.Head+1:
		err = chat.E("subscribe", chat.Behind, "from is beyond the newest entry", nil)
	}
	if err != nil {
		s.stop(b)
		s.refuse(ref, err)
		return
	}
	if from == 0 {
		from = page.Head + 1
		page.Entries, page.After = nil, false
	}
	s.mu.Lock()
	defer s.unlockAndWake()
	if s.state >= ending {
		return
	}
	if b.gone {
		s.out.commit(wire.AppendReply(s.out.begin(), &wire.Reply{Type: wire.Unsubscribed, Ref: ref, Conv: b.conv}))
		return
	}
	b.open, b.since, b.member, b.cursor = true, since, page.Head, from-1
	s.out.commit(wire.AppendReply(s.out.begin(), &wire.Reply{
		Type: wire.Subscribed, Ref: ref, Conv: b.conv, Head: page.Head, From: from,
	}))
	s.hand(b, &page)
}

// replaced reports whether a subscription ended before it began.
func (s *Session) replaced(b *sub) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.gone
}

// page reads for a subscription, at most for the time that is left. A try that
// was cut short before that is repeated in the late lane: so the subscriptions of
// groups that have no leader, of which there may be hundreds, hold the first lane
// for a moment each, and the node's reads stay few.
func (s *Session) page(b *sub, q conv.Query, left time.Duration) (page conv.Page, cut bool, err error) {
	try := min(s.cfg.TryWait<<min(b.tries, 16), left)
	ctx, cancel := context.WithTimeout(s.ctx, try)
	defer cancel()
	if err = ctx.Err(); err != nil {
		return page, false, chat.E("subscribe", chat.Timeout, "no answer in time", err)
	}
	page, err = s.deps.Backend.Page(ctx, q, Freshness{})
	if err != nil && try < left && errors.Is(ctx.Err(), context.DeadlineExceeded) {
		b.tries++
		return page, true, err
	}
	b.tries = 0
	return page, false, err
}

// tryLater queues a read of a subscription that was cut short.
func (s *Session) tryLater(job func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == live {
		s.queueJob(&s.late, job)
	}
}

// openInterval gives where a current member's view begins.
func openInterval(visible []conv.Interval) (since chat.Seq, member bool) {
	if n := len(visible); n > 0 && visible[n-1].To == 0 {
		return visible[n-1].From, true
	}
	return 0, false
}

// hand queues the entries of a page that was read after the cursor, up to the
// one that ends the membership. The lock is held.
func (s *Session) hand(b *sub, page *conv.Page) {
	entries := page.Entries
	until := b.removal(page)
	if until != 0 {
		n := 0
		for n < len(entries) && entries[n].Seq <= until {
			n++
		}
		entries = entries[:n]
	}
	if len(entries) > 0 {
		head := max(page.Head, entries[len(entries)-1].Seq)
		if until != 0 {
			head = min(head, until) // what came behind is not for this user to know
		}
		buf := wire.OpenEntries(s.out.begin(), b.conv, head)
		for i := range entries {
			if i > 0 {
				buf = append(buf, ',')
			}
			buf = wire.AppendEntry(buf, &entries[i])
		}
		s.out.commit(wire.CloseEntries(buf))
		b.cursor = max(b.cursor, entries[len(entries)-1].Seq)
	}
	switch {
	case until != 0 && (b.cursor >= until || !page.After):
		s.cut(b)
		return
	case !page.After:
		b.cursor = max(b.cursor, page.Head)
	}
	s.enqueue(b)
}

// removal gives the seq of the entry that ends the user's membership, 0 while
// none is known. An entry in the page decides even if the user was added again
// since, with a view of all that came between.
func (b *sub) removal(page *conv.Page) chat.Seq {
	for i := range page.Entries {
		e := &page.Entries[i]
		if e.Type != chat.MemberRemoved || e.Seq <= b.member {
			continue
		}
		for _, c := range e.Body.Changes {
			if c.User == b.s.who.User {
				return e.Seq
			}
		}
	}
	for _, i := range page.Visible {
		if i.From == b.since {
			return i.To
		}
	}
	return 0
}

// cut ends the subscription of a user who was removed. The lock is held.
func (s *Session) cut(b *sub) {
	s.forget(b)
	s.out.commit(wire.AppendReply(s.out.begin(), &wire.Reply{Type: wire.Unsubscribed, Conv: b.conv, Code: chat.NotFound}))
	if s.idle = append(s.idle, b.tail); len(s.idle) == 1 && s.state == live {
		s.queueJob(&s.first, s.release)
	}
}

// release closes the tails of subscriptions that were cut.
func (s *Session) release() {
	s.mu.Lock()
	idle := s.idle
	s.idle = nil
	s.mu.Unlock()
	for _, t := range idle {
		t.Close()
	}
}

// catchUp reads the log from the cursor on, because the tail does not reach
// back to it.
func (s *Session) catchUp(b *sub) {
	s.mu.Lock()
	after := b.cursor
	gone := b.gone
	s.mu.Unlock()
	if gone {
		return
	}
	page, cut, err := s.page(b, conv.Query{
		Conv: b.conv, User: s.who.User, Mode: conv.After, Seq: after,
		Limit: chat.PageEntriesMax, Bytes: s.cfg.CatchUpBytes,
	}, s.cfg.ReadWait)
	if cut {
		s.tryLater(func() { s.catchUp(b) })
		return
	}
	s.mu.Lock()
	b.reads = false
	switch {
	case b.gone || s.state >= ending:
	case err == nil && len(page.Visible) > 0:
		s.hand(b, &page)
	case err == nil || chat.CodeOf(err) == chat.NotFound:
		s.cut(b)
	default:
		// Later: the log cannot be read now, and the tail will not help.
		b.reads = true
		s.mu.Unlock()
		s.again(b)
		return
	}
	s.unlockAndWake()
}

// again lists a subscription anew after a while.
func (s *Session) again(b *sub) {
	s.wg.Go(func() {
		timer := time.NewTimer(s.cfg.RetryWait)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		b.reads = false
		s.enqueue(b)
		s.unlockAndWake()
	})
}
