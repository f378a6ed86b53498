package session

import (
	"context"
	"strings"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/wire"
)

// read serves history, info and proof away from the goroutine that receives.
func (s *Session) read(req *wire.Request) {
	r := *req
	r.Changes = nil
	r.Conv = chat.ConvID(strings.Clone(string(req.Conv)))
	r.Text, r.Token, r.Title, r.ContentType, r.Device, r.To = "", "", "", "", "", ""
	if !s.ask(func() { s.answer(&r) }) {
		s.refuse(req.Ref, busy(req.Type.String(), "too many requests wait for their answer"))
	}
}

// askFirst queues the first read of a subscription. A client that comes back
// makes all its subscriptions at once, so they have a bound of their own.
func (s *Session) askFirst(job func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.jobs) >= s.cfg.SubscriptionsMax+s.cfg.RequestsMax || s.state != live {
		return false
	}
	s.queueJob(job)
	return true
}

// ask queues a read that the client asked for.
func (s *Session) ask(job func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests >= s.cfg.RequestsMax || s.state != live {
		return false
	}
	s.requests++
	s.queueJob(func() {
		job()
		s.mu.Lock()
		s.requests--
		s.mu.Unlock()
	})
	return true
}

// queueJob runs job on one of at most ReadersMax goroutines. The lock is held.
func (s *Session) queueJob(job func()) {
	s.jobs = append(s.jobs, job)
	if s.readers < s.cfg.ReadersMax {
		s.readers++
		s.wg.Go(s.work)
	}
}

// work runs jobs until there are none, each once there is room for its answer.
func (s *Session) work() {
	for {
		s.mu.Lock()
		for s.out.size() >= s.cfg.QueueBytesMax && s.state < ending {
			s.room.Wait()
		}
		if len(s.jobs) == 0 || s.state >= ending {
			s.readers--
			s.mu.Unlock()
			return
		}
		job := s.jobs[0]
		s.jobs[0] = nil
		if s.jobs = s.jobs[1:]; len(s.jobs) == 0 {
			s.jobs = nil
		}
		s.mu.Unlock()
		job()
	}
}

func (s *Session) answer(req *wire.Request) {
	ctx, cancel := context.WithTimeout(s.ctx, s.cfg.ReadWait)
	defer cancel()
	rep := &wire.Reply{Type: req.Type, Ref: req.Ref, Conv: req.Conv}
	fresh := Freshness{Level: req.Level, MinSeq: req.MinSeq}
	var err error
	switch req.Type {
	case wire.History:
		rep.Type = wire.Page
		var page conv.Page
		q := HistoryQuery(req, s.who.User)
		page, err = s.deps.Backend.Page(ctx, q, fresh)
		rep.Entries, rep.Head, rep.More = page.Entries, page.Head, MorePages(q.Mode, &page)
	case wire.Info:
		rep.Info, err = s.deps.Backend.Info(ctx, req.Conv, s.who.User, fresh)
	case wire.Proof:
		var p conv.Proof
		p, err = s.deps.Backend.Proof(ctx, conv.ProofQuery{
			Conv: req.Conv, User: s.who.User, Size: req.Size, Seq: req.Seq, OldSize: req.FromSize,
		}, fresh)
		rep.Proof = ProofReply(&p)
	}
	if err != nil {
		s.refuse(req.Ref, err)
		return
	}
	s.reply(rep)
}

// HistoryQuery makes the query of a history request.
func HistoryQuery(req *wire.Request, user chat.UserID) conv.Query {
	q := conv.Query{Conv: req.Conv, User: user, Seq: req.At, Limit: int(req.Limit)}
	switch req.Page {
	case wire.Before:
		q.Mode = conv.Before
	case wire.After:
		q.Mode = conv.After
	case wire.Around:
		q.Mode = conv.Around
	default:
		q.Mode = conv.Latest
	}
	return q
}

// MorePages reports whether there is more in the direction of reading.
func MorePages(m conv.Mode, p *conv.Page) bool {
	switch m {
	case conv.After:
		return p.After
	case conv.Around:
		return p.Before || p.After
	default:
		return p.Before
	}
}

// ProofReply is a proof as it goes to clients.
func ProofReply(p *conv.Proof) wire.ProofReply {
	r := wire.ProofReply{Conv: p.Conv, Size: p.Size, Root: p.Root}
	if p.Seq != 0 {
		r.Seq, r.Leaf, r.Path = p.Seq, p.Leaf, p.Inclusion
	} else {
		r.FromSize, r.FromRoot, r.Path = p.OldSize, p.OldRoot, p.Consistency
	}
	return r
}
