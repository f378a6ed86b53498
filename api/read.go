package api

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/wire"
)

// reading gives the context of one read. When it ends early, ended tells why.
func (s *Server) reading(c *call) (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.Request().Context(), s.cfg.ReadWait)
}

func (s *Server) info(c *call) error {
	q := c.query("consistency", "min_seq")
	fresh := q.freshness()
	if q.err != nil {
		return q.err
	}
	ctx, cancel := s.reading(c)
	defer cancel()
	in, err := s.deps.Backend.Info(ctx, c.conv, c.who.User, fresh)
	if err != nil {
		return ended(ctx, err)
	}
	return c.answer(http.StatusOK, &wire.Reply{Type: wire.Info, Conv: c.conv, Info: in})
}

func (s *Server) proof(c *call) error {
	q := c.query("seq", "from_size", "size", "consistency", "min_seq")
	fresh := q.freshness()
	p := conv.ProofQuery{Conv: c.conv, User: c.who.User, Size: q.seq("size", 1), Seq: q.seq("seq", 1), OldSize: q.seq("from_size", 1)}
	if q.has("seq") == q.has("from_size") {
		q.fault("seq or from_size", "given, and not both")
	}
	if q.err != nil {
		return q.err
	}
	ctx, cancel := s.reading(c)
	defer cancel()
	got, err := s.deps.Backend.Proof(ctx, p, fresh)
	if err != nil {
		return ended(ctx, err)
	}
	return c.answer(http.StatusOK, &wire.Reply{Type: wire.Proof, Conv: c.conv, Proof: session.ProofReply(&got)})
}

func (s *Server) entries(c *call) error {
	q := c.query("before", "after", "around", "limit", "wait", "consistency", "min_seq")
	fresh := q.freshness()
	wait := q.wait(s.cfg.WaitMax)
	page := q.page(c.conv, c.who.User)
	if q.err != nil {
		return q.err
	}
	if wait > 0 {
		return s.poll(c, page, fresh, wait)
	}
	got, err := s.page(c, page, fresh)
	if err != nil {
		return err
	}
	return c.page(page.Mode, &got)
}

func (s *Server) page(c *call, q conv.Query, fresh session.Freshness) (conv.Page, error) {
	ctx, cancel := s.reading(c)
	defer cancel()
	got, err := s.deps.Backend.Page(ctx, q, fresh)
	return got, ended(ctx, err)
}

func (c *call) page(m conv.Mode, p *conv.Page) error {
	return c.answer(http.StatusOK, &wire.Reply{
		Type: wire.Page, Conv: c.conv, Entries: p.Entries, Head: p.Head, More: session.MorePages(m, p),
	})
}

// poll answers as soon as there is an entry after the cursor, or with an empty
// page when the time is over, or the token's, or when nothing can come since
// the caller is no member any more. The tail is opened before the first read,
// so no entry falls between reading and waiting.
func (s *Server) poll(c *call, q conv.Query, fresh session.Freshness, wait time.Duration) error {
	select {
	case s.waiters <- struct{}{}:
		defer func() { <-s.waiters }()
	default:
		return busy("too many long polls at once")
	}
	moved := make(chan struct{}, 1)
	tail := s.deps.Tails(c.conv, func() {
		select {
		case moved <- struct{}{}:
		default: // one note is enough
		}
	})
	defer tail.Close()
	<-s.slots // a request that waits is no request in work
	defer func() { s.slots <- struct{}{} }()
	timer := time.NewTimer(min(wait, s.holds(c)))
	defer timer.Stop()
	for {
		got, err := s.page(c, q, fresh)
		if err != nil {
			return err
		}
		if len(got.Entries) > 0 || !got.Grows() {
			return c.page(q.Mode, &got)
		}
		// The leader tells of an entry before its own state shows it, and long before
		// another replica does. Nothing tells of it again, so what is known to be there
		// is read as of now, at any level.
		if fresh.Level != wire.Linearizable && tail.HeadFor(q.Seq, 0, c.who.User) > q.Seq {
			fresh.Level = wire.Linearizable
			continue
		}
		select {
		case <-moved:
			fresh.Level = wire.Linearizable
		case <-s.draining:
			e := chat.E("entries", chat.ShuttingDn, "the node stops", nil)
			e.RetryAfter = max(time.Millisecond, rand.N(s.spread))
			return e
		case <-timer.C:
			return c.page(q.Mode, &got)
		case <-c.Request().Context().Done():
			return chat.E("entries", chat.Canceled, "the caller went away", context.Cause(c.Request().Context()))
		}
	}
}

// holds is how long the caller's token holds. One that has ended and is taken
// for what clocks may differ has that time left, so that its polls still wait.
func (s *Server) holds(c *call) time.Duration {
	now, end := s.deps.Now(), c.who.Expires
	if !now.Before(end) {
		end = end.Add(auth.Leeway)
	}
	return end.Sub(now)
}

// ended gives an error of a read its code when the time for it was over.
func ended(ctx context.Context, err error) error {
	if err == nil || ctx.Err() == nil || chat.CodeOf(err) != chat.Internal {
		return err
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return chat.E("read", chat.Timeout, "", err)
	}
	return chat.E("read", chat.Canceled, "", err)
}
