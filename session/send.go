package session

import (
	"strings"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/wire"
)

// pipe is the line of unanswered sends to one conversation.
type pipe struct {
	conv    chat.ConvID
	last    chat.ClientID // of the newest send
	unacked int
}

// pipesKept is how many idle pipes a session remembers to save their making.
const pipesKept = 256

// pending is a command on its way. It is used again: done is bound once.
type pending struct {
	s    *Session
	pipe *pipe
	ref  uint64
	conv chat.ConvID // to name in the ack, "" for none
	op   string
	cmd  fsm.Append
	done func(fsm.Result, error)
}

func newPending() any {
	p := new(pending)
	p.done = p.complete
	return p
}

// send appends a message.
func (s *Session) send(req *wire.Request, now time.Time) {
	conv := req.Conv
	p := s.deps.Registry.pendings.Get().(*pending)
	p.s, p.ref, p.op, p.conv = s, req.Ref, "send", ""
	if req.To != "" {
		if req.To == s.who.User {
			s.drop(p, chat.E("send", chat.Invalid, "to is yourself", nil))
			return
		}
		conv = chat.DirectID(s.who.User, req.To)
		p.conv = conv
	}
	after, err := s.enter(p, conv, req.ID, req.After)
	if err != nil {
		s.drop(p, err)
		return
	}
	p.cmd = fsm.Append{
		Conv: conv, Sender: s.who.User, Device: s.device, ClientID: req.ID, After: after,
		ContentType: req.ContentType, Text: req.Text, Direct: req.To,
	}
	cmd := fsm.Encode(make([]byte, 0, 144+len(conv)+len(req.Text)), &p.cmd)
	p.cmd = fsm.Append{} // it shares the frame's text
	s.deps.Backend.Propose(conv, cmd, now.Add(s.cfg.ProposeWait), p.done)
}

// enter puts a send into its pipe and gives its predecessor (S4).
func (s *Session) enter(p *pending, conv chat.ConvID, id, after chat.ClientID) (chat.ClientID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	line := s.pipes[conv]
	if line == nil {
		line = &pipe{conv: chat.ConvID(strings.Clone(string(conv)))}
		s.pipes[line.conv] = line
	}
	if line.unacked >= s.cfg.UnackedMax || s.inflight >= s.cfg.SendsMax {
		s.retire(line)
		return after, busy("send", "too many sends wait for their ack")
	}
	if after.IsZero() && line.unacked > 0 && line.last != id {
		after = line.last
	}
	line.last = id
	line.unacked++
	s.inflight++
	p.pipe = line
	return after, nil
}

// retire forgets an idle pipe unless there is room to keep it.
func (s *Session) retire(line *pipe) {
	if line.unacked == 0 && len(s.pipes) > pipesKept {
		delete(s.pipes, line.conv)
	}
}

func busy(op, msg string) error {
	e := chat.E(op, chat.Busy, msg, nil)
	e.RetryAfter = 20 * time.Millisecond
	return e
}

func (s *Session) drop(p *pending, err error) {
	ref := p.ref
	p.free()
	s.refuse(ref, err)
}

func (p *pending) free() {
	pool := &p.s.deps.Registry.pendings
	p.s, p.pipe, p.conv = nil, nil, ""
	pool.Put(p)
}

// complete answers a command. It runs where the result is known and does not
// wait for anybody.
func (p *pending) complete(r fsm.Result, err error) {
	s := p.s
	s.mu.Lock()
	s.inflight--
	if p.pipe != nil {
		p.pipe.unacked--
		s.retire(p.pipe)
	}
	switch {
	case s.state == closed:
	case err != nil:
		s.refuseLocked(p.ref, err)
	case r.Code != chat.OK:
		s.refuseLocked(p.ref, r.Err(p.op))
	default:
		s.out.commit(wire.AppendAck(s.out.begin(), p.ref, p.conv, &r.Ack))
	}
	s.unlockAndWake()
	p.free()
}

// create begins a conversation.
func (s *Session) create(req *wire.Request, now time.Time) {
	cmd, err := CreateCommand(req, s.who.User, s.device)
	if err != nil {
		s.refuse(req.Ref, err)
		return
	}
	s.propose(req.Ref, "create", cmd.Conv, chat.ConvID(strings.Clone(string(cmd.Conv))), cmd, now)
}

// CreateCommand makes the command of a create request.
func CreateCommand(req *wire.Request, user chat.UserID, device chat.DeviceID) (fsm.Create, error) {
	conv := req.Conv
	var members []chat.Change
	if req.Kind == chat.Direct {
		if req.To == user {
			return fsm.Create{}, chat.E("create", chat.Invalid, "to is yourself", nil)
		}
		conv = chat.DirectID(user, req.To)
		members = []chat.Change{{User: req.To, Role: chat.Writer}}
	} else if len(req.Changes) > 0 {
		members = req.Changes
	}
	return fsm.Create{
		Conv: conv, Kind: req.Kind, Title: req.Title, Policy: req.Policy, Creator: user, Device: device,
		ClientID: req.ID, Members: members, MembersMax: uint32(req.MembersMax),
	}, nil
}

// members changes who belongs to a conversation.
func (s *Session) members(req *wire.Request, now time.Time) {
	s.propose(req.Ref, "members", req.Conv, "", fsm.ChangeMembers{
		Conv: req.Conv, Actor: s.who.User, Device: s.device, ClientID: req.ID, Changes: req.Changes,
	}, now)
}

// propose sends a command that is no message.
func (s *Session) propose(ref uint64, op string, conv, show chat.ConvID, cmd fsm.Command, now time.Time) {
	s.mu.Lock()
	full := s.inflight >= s.cfg.SendsMax
	if !full {
		s.inflight++
	}
	s.mu.Unlock()
	if full {
		s.refuse(ref, busy(op, "too many commands wait for their ack"))
		return
	}
	p := s.deps.Registry.pendings.Get().(*pending)
	p.s, p.ref, p.op, p.conv = s, ref, op, show
	s.deps.Backend.Propose(conv, fsm.Encode(nil, cmd), now.Add(s.cfg.ProposeWait), p.done)
}
