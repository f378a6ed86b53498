package client

import (
	"cmp"
	"context"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// call is one request other than a send, from the caller to its answer.
type call struct {
	op       string
	req      wire.Request
	done     func(*wire.Reply, error) // nil when nobody waits any more
	once     bool                     // belongs to one connection: not repeated on another
	wired    bool
	attempts int
}

// callsMax bounds the requests of one client that have no answer.
const callsMax = 1 << 16

// startCall queues k. It is called under the lock.
func (c *Client) startCall(k *call) {
	c.callRef = c.callRef%generationMax + 1
	k.req.Ref = c.callRef<<1 | 1
	c.calls[k.req.Ref] = k
	c.callWait = append(c.callWait, k)
	c.fill()
}

// do sends req and waits for its answer, over any number of connections.
func (c *Client) do(ctx context.Context, op string, req wire.Request) (wire.Reply, error) {
	type answer struct {
		r   wire.Reply
		err error
	}
	got := make(chan answer, 1)
	k, err := c.begin(op, req, func(r *wire.Reply, err error) {
		if err != nil {
			got <- answer{err: err}
			return
		}
		got <- answer{r: *r}
	})
	if err != nil {
		return wire.Reply{}, err
	}
	select {
	case a := <-got:
		return a.r, a.err
	case <-ctx.Done():
		c.mu.Lock()
		k.done = nil
		if !k.wired {
			delete(c.calls, k.req.Ref)
			c.trimCalls()
		}
		c.mu.Unlock()
		select {
		case a := <-got:
			return a.r, a.err
		default:
			return wire.Reply{}, contextError(ctx, op)
		}
	}
}

func (c *Client) begin(op string, req wire.Request, done func(*wire.Reply, error)) (*call, error) {
	if err := checkRequest(op, &req); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.failed != nil {
		return nil, c.failed
	}
	if len(c.calls) >= callsMax {
		return nil, chat.E(op, chat.Busy, "too many requests wait for an answer", nil)
	}
	k := &call{op: op, req: req, done: done}
	c.startCall(k)
	return k, nil
}

// trimCalls takes what nobody waits for out of the line when it is most of it. The
// line does not move while a node does not answer, or there is none.
func (c *Client) trimCalls() {
	if len(c.callWait) > 2*len(c.calls)+64 {
		c.callWait = slices.DeleteFunc(c.callWait, func(k *call) bool { return c.calls[k.req.Ref] != k })
	}
}

// checkRequest refuses what no node would take. A request that is larger than a frame
// may be would not even be answered: it would break every connection that it is
// written to.
func checkRequest(op string, req *wire.Request) error {
	switch {
	case len(req.Changes) > chat.MembersPerCommand:
		return chat.E(op, chat.TooLarge, "too many users in one command", nil)
	case !utf8.ValidString(req.Title):
		return chat.E(op, chat.InvalidUTF8, "the title is not UTF-8", nil)
	}
	for _, ch := range req.Changes {
		if ch.Role > chat.Owner {
			return chat.E(op, chat.Invalid, "a role is none of those that there are", nil)
		}
	}
	if err := req.Check(); err != nil {
		code, msg, _ := wire.Explain(err)
		return chat.E(op, code, msg, nil)
	}
	return nil
}

// takeCall removes the call of a ref; nil when nobody knows it.
func (c *Client) takeCall(ref uint64) *call {
	k := c.calls[ref]
	if k == nil {
		return nil
	}
	delete(c.calls, ref)
	if k.wired {
		c.onWire--
	}
	return k
}

// answerCall hands a node's answer to its caller, or repeats the request when
// the answer says so.
func (c *Client) answerCall(r *wire.Reply) {
	c.mu.Lock()
	k := c.takeCall(r.Ref)
	if k == nil {
		c.mu.Unlock()
		return
	}
	var err error
	if r.Type == wire.Error {
		e := replyError(k.op, r)
		if again(e.Code) && !k.once && k.done != nil {
			c.repeatCall(k, e.RetryAfter)
			c.fill()
			c.mu.Unlock()
			return
		}
		err = e
	}
	done := k.done
	c.fill()
	c.mu.Unlock()
	if done == nil {
		return
	}
	if err != nil {
		done(nil, err)
		return
	}
	own := *r
	done(&own, nil)
}

// repeatCall puts k back after a pause.
func (c *Client) repeatCall(k *call, pause time.Duration) {
	k.wired = false
	c.calls[k.req.Ref] = k
	pause = max(pause, jitter(c.cfg.BackoffMin, c.cfg.BackoffMax, k.attempts))
	k.attempts++
	time.AfterFunc(pause, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.calls[k.req.Ref] != k || k.wired {
			return
		}
		if !slices.Contains(c.callWait, k) {
			c.callWait = append(c.callWait, k)
		}
		c.fill()
	})
}

// requeueCalls makes ready for a new connection: what waits is written in the
// order of the calls; what belonged to the old connection is dropped.
func (c *Client) requeueCalls() {
	c.onWire = 0
	c.callWait = c.callWait[:0]
	for ref, k := range c.calls {
		k.wired = false
		if k.once || k.done == nil {
			delete(c.calls, ref)
			continue
		}
		c.callWait = append(c.callWait, k)
	}
	slices.SortFunc(c.callWait, func(a, b *call) int { return cmp.Compare(a.req.Ref, b.req.Ref) })
}
