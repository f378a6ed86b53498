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
	if !s.ask(&r) {
		s.refuse(req.Ref, busy(req.Type.String(), "too many requests wait for their answer"))
	}
}

// ask queues a read that the client asked for. Stale reads wait for nobody, and
// so have a lane of their own.
func (s *Session) ask(req *wire.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests >= s.cfg.RequestsMax || s.state != live {
		return false
	}
	s.requests++
	l := &s.asked
	if req.Level == wire.Stale {
		l = &s.stale
	}
	at := s.arrived()
	s.queueJob(l, func() { s.answer(req, l, at) })
	return true
}

func (s *Session) answer(req *wire.Request, l *lane, at arrival) {
	ctx, cancel := context.WithTimeout(s.ctx, s.left(at))
	defer cancel()
	place := s.hold(l)
	rep, err := s.fetch(ctx, req)
	place.regain()
	s.mu.Lock()
	s.requests--
	switch {
	case s.state == closed:
	case err != nil:
		s.refuseLocked(req.Ref, err)
	default:
		s.out.commit(wire.AppendReply(s.out.begin(), rep))
	}
	s.unlockAndWake()
}

// fetch reads what a request asks for.
func (s *Session) fetch(ctx context.Context, req *wire.Request) (*wire.Reply, error) {
	rep := &wire.Reply{Type: req.Type, Ref: req.Ref, Conv: req.Conv}
	fresh := Freshness{Level: req.Level, MinSeq: req.MinSeq}
	err := ctx.Err() // its time may have passed before its turn came
	if err != nil {
		return nil, chat.E(req.Type.String(), chat.Timeout, "no answer in time", err)
	}
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
	return rep, err
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
