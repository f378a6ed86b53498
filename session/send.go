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
	before  chat.ClientID // what that one was chained to, should it come again
	unacked int
	failed  int // refused, and the client may not have the answer yet
}

// failure is a refused send whose answer is in the frame of that number.
type failure struct {
	line  *pipe
	frame uint64
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
		p.free()
		s.failSend(req, err)
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
	line := s.line(conv)
	if line.unacked >= s.cfg.UnackedMax || s.inflight >= s.cfg.SendsMax {
		return after, busy("send", "too many sends wait for their ack")
	}
	after = line.chain(id, after)
	line.unacked++
	s.inflight++
	p.pipe = line
	return after, nil
}

// line gives the pipe of a conversation. The lock is held.
func (s *Session) line(conv chat.ConvID) *pipe {
	line := s.pipes[conv]
	if line == nil {
		line = &pipe{conv: chat.ConvID(strings.Clone(string(conv)))}
		s.pipes[line.conv] = line
	}
	return line
}

// chain makes id the newest send of the pipe and gives its predecessor.
func (line *pipe) chain(id, after chat.ClientID) chat.ClientID {
	if after.IsZero() && line.unacked+line.failed > 0 {
		if after = line.last; after == id {
			after = line.before
		}
	}
	line.last, line.before = id, after
	return after
}

// failSend refuses a request. If it is a send that can be named, those behind it
// are chained to its id, which never comes into the log, and fail as well.
func (s *Session) failSend(req *wire.Request, err error) {
	conv := req.Conv
	if req.To != "" {
		conv = chat.DirectID(s.who.User, req.To)
	}
	s.mu.Lock()
	s.refuseLocked(req.Ref, err)
	if req.Type == wire.Send && s.state == live && !req.ID.IsZero() && chat.ValidID(string(conv)) {
		line := s.line(conv)
		line.chain(req.ID, req.After)
		s.fail(line)
	}
	s.unlockAndWake()
}

// fail keeps a pipe's chain until the error just queued has been handed to the
// connection, as long as which it counts as unanswered. The lock is held.
func (s *Session) fail(line *pipe) {
	line.failed++
	s.failures = append(s.failures, failure{line, s.out.number()})
}

// forgive ends the chains whose errors were handed to the connection before the
// present frame came. The lock is held.
func (s *Session) forgive() {
	n := 0
	for ; n < len(s.failures) && s.failures[n].frame <= s.out.taken; n++ {
		line := s.failures[n].line
		line.failed--
		s.retire(line)
	}
	if s.failures = s.failures[n:]; len(s.failures) == 0 {
		s.failures = nil
	}
}

// retire forgets an idle pipe unless there is room to keep it.
func (s *Session) retire(line *pipe) {
	if line.unacked+line.failed == 0 && len(s.pipes) > pipesKept {
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
	if err == nil && r.Code != chat.OK {
		err = r.Err(p.op)
	}
	switch {
	case s.state == closed:
	case err != nil:
		s.refuseLocked(p.ref, err)
		if p.pipe != nil {
			s.fail(p.pipe)
		}
	default:
		s.out.commit(wire.AppendAck(s.out.begin(), p.ref, p.conv, &r.Ack))
	}
	if p.pipe != nil {
		p.pipe.unacked--
		s.retire(p.pipe)
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
