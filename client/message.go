package client

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// Message is one text to append.
type Message struct {
	Conv chat.ConvID
	To   chat.UserID // instead of Conv: the direct conversation with this user, made by the first message

	Text        string
	ContentType string // "" means text/plain

	// ID makes repeated calls append once, also from another process. Zero
	// for one drawn by the client.
	ID chat.ClientID

	// NoWait answers busy at once when the outbox is full, instead of waiting.
	NoWait bool
}

// conversation is where m goes, when self sends it.
func (m *Message) conversation(self chat.UserID) chat.ConvID {
	if m.To != "" {
		return chat.DirectID(self, m.To)
	}
	return m.Conv
}

// check refuses what no node would take, before it takes a place in the outbox.
func (m *Message) check() error {
	const op = "send"
	switch {
	case m.To == "" && !chat.ValidID(string(m.Conv)):
		return chat.E(op, chat.Invalid, "conv is no conversation id", nil)
	case m.To != "" && (m.Conv != "" || !chat.ValidUserID(string(m.To))):
		return chat.E(op, chat.Invalid, "give either conv or to, a user id", nil)
	case len(m.ContentType) > chat.ContentTypeMax:
		return chat.E(op, chat.TooLarge, "the content type is over its limit of bytes", nil)
	case m.Text == "":
		return chat.E(op, chat.Invalid, "the text is empty", nil)
	case len(m.Text) > chat.TextBytesMax:
		return chat.E(op, chat.TooLarge, "the text is over its limit of bytes", nil)
	case !utf8.ValidString(m.Text):
		return chat.E(op, chat.InvalidUTF8, "the text is not UTF-8", nil)
	case len(m.Text) > chat.TextRunesMax && utf8.RuneCountInString(m.Text) > chat.TextRunesMax:
		return chat.E(op, chat.TooLarge, "the text is over its limit of characters", nil)
	case 6*len(m.Text)+frameSlack > wire.FrameBytesMax && escapedBytes(m.Text)+frameSlack > wire.FrameBytesMax:
		return chat.E(op, chat.TooLarge, "the text does not fit into a frame once its quotes and control characters are escaped", nil)
	}
	return nil
}

// escapedBytes bounds the length of s within JSON.
func escapedBytes(s string) int {
	n := len(s)
	for i := 0; i < len(s); i++ {
		switch b := s[i]; {
		case b == '"' || b == '\\' || b == '\n' || b == '\r' || b == '\t':
			n++
		case b < 0x20:
			n += 5
		}
	}
	return n
}

// Send appends m and waits for the answer. When ctx ends first, the message may
// or may not be appended; sending it again with the same ID is safe.
func (c *Client) Send(ctx context.Context, m Message) (chat.Ack, error) {
	type answer struct {
		ack chat.Ack
		err error
	}
	got := make(chan answer, 1)
	ref, err := c.enqueue(ctx, &m, func(ack chat.Ack, err error) { got <- answer{ack, err} })
	if err != nil {
		return chat.Ack{}, err
	}
	select {
	case a := <-got:
		return a.ack, a.err
	case <-ctx.Done():
		if c.abandon(ref) {
			return chat.Ack{}, contextError(ctx, "send")
		}
		a := <-got // it was answered meanwhile
		return a.ack, a.err
	}
}

// SendAsync puts m into the outbox and returns; it waits only for room there.
// done is called once, see the package comment for where. After an error of
// SendAsync itself done is not called.
func (c *Client) SendAsync(ctx context.Context, m Message, done func(chat.Ack, error)) error {
	_, err := c.enqueue(ctx, &m, done)
	return err
}

func (c *Client) enqueue(ctx context.Context, m *Message, done func(chat.Ack, error)) (uint64, error) {
	if err := m.check(); err != nil {
		return 0, err
	}
	now := time.Now()
	c.mu.Lock()
	for {
		if c.failed != nil {
			err := c.failed
			c.mu.Unlock()
			return 0, err
		}
		if c.box.count < c.cfg.InFlightMax && (c.box.bytes+len(m.Text) <= c.cfg.InFlightBytesMax || c.box.count == 0) {
			break
		}
		if m.NoWait {
			c.mu.Unlock()
			return 0, chat.E("send", chat.Busy, "the outbox is full", nil)
		}
		room := make(chan struct{})
		c.waiters = append(c.waiters, room)
		c.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			c.forgetWaiter(room)
			return 0, contextError(ctx, "send")
		}
		now = time.Now()
		c.mu.Lock()
	}
	if m.ID.IsZero() {
		m.ID = c.ids.next(now)
	}
	o := c.box.add(m, now.Add(c.cfg.SendTimeout), done)
	ref := o.ref
	c.armExpiry(now)
	c.box.markReady(o.lane)
	c.fill()
	c.mu.Unlock()
	return ref, nil
}

// forgetWaiter passes a wake-up on that came with the end of the context.
func (c *Client) forgetWaiter(room chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, w := range c.waiters {
		if w == room {
			c.waiters = append(c.waiters[:i], c.waiters[i+1:]...)
			return
		}
	}
	c.wakeWaiters(1)
}

// wakeWaiters lets n callers look for room again.
func (c *Client) wakeWaiters(n int) {
	for n > 0 && len(c.waiters) > 0 {
		close(c.waiters[0])
		c.waiters = c.waiters[1:]
		n--
	}
}

// abandon takes away the callback of a send; false when it was answered. What
// cannot be appended any more is dropped; anything else stays until its answer, so
// that the messages behind it keep their order.
func (c *Client) abandon(ref uint64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.box.find(ref)
	if o == nil {
		return false
	}
	o.done, o.abandoned = nil, true
	if !o.wired && !o.maybe {
		c.dropOp(o)
		c.fill()
	}
	return true
}

// dropOp removes o and lets its lane and a waiting caller go on.
func (c *Client) dropOp(o *op) {
	l := o.lane
	c.box.remove(o)
	c.settle(l)
	c.wakeWaiters(1)
}

// contextError says that the caller's context ended.
func contextError(ctx context.Context, op string) error {
	code := chat.Canceled
	if ctx.Err() == context.DeadlineExceeded {
		code = chat.Timeout
	}
	return chat.E(op, code, "no answer before the caller's context ended; it may have been done", context.Cause(ctx))
}

// clone keeps a small string without the frame that it points into.
func clone(s string) string { return strings.Clone(s) }
