package fanout

import (
	"context"
	"time"

	"github.com/chatnode/chatnode/chat"
)

var _ Receiver = (*Hub)(nil)

// place attaches a topic to its conversation's leader, unless it is already.
func (h *Hub) place(t *topic) {
	node, ok := h.deps.Leaders.LeaderOf(t.conv)
	t.mu.Lock()
	if t.gone || t.feed != nil && (!ok || node == t.node) || h.ctx.Err() != nil {
		t.mu.Unlock()
		return
	}
	old := t.feed
	t.feed = nil
	var next Feed
	if ok {
		next = h.deps.Feeds(node)
		t.feed, t.node = next, node
		t.round++
	}
	round := t.round
	t.mu.Unlock()
	if old != nil {
		old.Detach(t.conv, h)
	}
	if next == nil {
		token(h.orphan)
		return
	}
	next.Attach(t.conv, h, func() { h.attached(t, round) })
	t.mu.Lock()
	stray := t.gone
	t.mu.Unlock()
	if stray { // closed while it was being attached
		next.Detach(t.conv, h)
		h.restore(t.conv)
	}
}

// attached reads the head once per attachment (F3).
func (h *Hub) attached(t *topic, round uint64) {
	t.mu.Lock()
	stale := round != t.round || t.synced >= round
	t.synced = max(t.synced, round)
	t.mu.Unlock()
	if !stale {
		h.repair(t)
	}
}

// Deliver implements [Receiver].
func (h *Hub) Deliver(e *chat.Entry) {
	t := h.topic(e.Conv)
	if t == nil {
		return
	}
	moved, missing := t.offer(e)
	for _, fn := range moved {
		fn()
	}
	if missing {
		h.repair(t)
	}
}

// Gap implements [Receiver].
func (h *Hub) Gap(conv chat.ConvID) {
	if t := h.topic(conv); t != nil {
		h.repair(t)
	}
}

// Lost implements [Receiver].
func (h *Hub) Lost(conv chat.ConvID) {
	t := h.topic(conv)
	if t == nil {
		return
	}
	t.mu.Lock()
	t.feed = nil
	t.mu.Unlock()
	token(h.orphan) // and not at once: whoever lost it may not know the new leader yet
}

// repair reads what the feed has not brought. One runs per topic; what is asked
// for meanwhile makes it run once more.
func (h *Hub) repair(t *topic) {
	t.mu.Lock()
	if t.gone || h.ctx.Err() != nil {
		t.mu.Unlock()
		return
	}
	if t.reading {
		t.again = true
		t.mu.Unlock()
		return
	}
	t.reading = true
	t.mu.Unlock()
	if !h.start(func() { h.repairing(t) }) {
		t.mu.Lock()
		t.reading = false
		t.mu.Unlock()
	}
}

func (h *Hub) repairing(t *topic) {
	at := &h.first
	for {
		slow, err := h.readOnce(t, at)
		if slow {
			at = &h.late
		}
		t.mu.Lock()
		again := t.again || err != nil
		t.again = false
		if !again || t.gone || h.ctx.Err() != nil {
			t.reading = false
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		if err != nil {
			h.pause()
		}
	}
}

// pause waits before another try, or until the hub stops.
func (h *Hub) pause() {
	timer := time.NewTimer(h.cfg.RetryWait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-h.ctx.Done():
	}
}

// readOnce reads up to the head of now. slow says that a read was not back in its time.
func (h *Hub) readOnce(t *topic, at *lane) (slow bool, err error) {
	select {
	case at.tokens <- struct{}{}:
	case <-h.ctx.Done():
		return false, h.ctx.Err()
	}
	defer func() { <-at.tokens }()
	for {
		t.mu.Lock()
		after, known := t.last, t.known
		t.mu.Unlock()
		limit := h.cfg.PageMax
		if !known {
			limit = 1
		}
		ctx, cancel := context.WithTimeout(h.ctx, at.wait)
		entries, head, err := h.deps.Log.ReadAfter(ctx, t.conv, after, limit)
		slow := ctx.Err() != nil
		cancel()
		if err != nil {
			if chat.CodeOf(err) == chat.NotFound {
				return false, nil // nothing of it exists yet; the feed tells when it does
			}
			return slow, err
		}
		moved, more := t.fill(entries, head)
		for _, fn := range moved {
			fn()
		}
		if !more {
			return false, nil
		}
	}
}
