package peer

import (
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/router"
)

// session is the client's end of one stream of calls.
type session struct {
	outbox // its mutex guards slots and free too
	node   shard.NodeID
	slots  []slot
	free   []uint32
	busy   int // slots in use
	max    int

	ready  atomic.Bool  // the other side has said something
	silent atomic.Bool  // it owes an answer for too long
	pinged atomic.Int64 // when the oldest ping since the last frame came was sent, as mono.Now; 0 for none
	pong   func(epoch uint64, led []shard.GroupID)
	due    []answer // scratch of the receiver, as is:
	heard  *pong
}

// slot is an outstanding call: a proposal (caller) or a read (data).
type slot struct {
	gen    uint32
	caller router.Caller
	token  uint64
	data   chan<- answer
}

// answer is an item that answers a call, decoded.
type answer struct {
	slot
	res  fsm.Result
	err  error
	body []byte
}

func newSession(pool *bytePool, cfg Config, node shard.NodeID, pong func(uint64, []shard.GroupID)) *session {
	s := &session{node: node, max: cfg.CallsMax, pong: pong}
	s.init(pool, cfg.FramesMax, cfg.BytesMax)
	return s
}

func (s *session) up() bool { return s.ready.Load() && !s.silent.Load() }

// call sends an item that will be answered to c.
func (s *session) call(kind byte, head, body []byte, c slot) (id uint64, err error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return 0, errDown(s.node)
	}
	if s.busy >= s.max {
		s.mu.Unlock()
		return 0, errBusy("forward", "too many calls to one node")
	}
	if len(s.free) == 0 {
		s.slots = append(s.slots, slot{})
		s.free = append(s.free, uint32(len(s.slots)-1))
	}
	i := s.free[len(s.free)-1]
	c.gen = s.slots[i].gen
	id = uint64(c.gen)<<32 | uint64(i)
	if !s.putLocked(kind, id, head, body) {
		s.mu.Unlock()
		return 0, errBusy("forward", "too many bytes wait for one node")
	}
	s.free = s.free[:len(s.free)-1]
	s.slots[i] = c
	s.busy++
	s.unlock()
	return id, nil
}

// claimLocked takes the call with that id out of the table.
func (s *session) claimLocked(id uint64) (slot, bool) {
	i := uint32(id)
	if int64(i) >= int64(len(s.slots)) {
		return slot{}, false
	}
	c := s.slots[i]
	if c.gen != uint32(id>>32) || c.caller == nil && c.data == nil {
		return slot{}, false
	}
	s.slots[i] = slot{gen: c.gen + 1}
	s.free = append(s.free, i)
	s.busy--
	return c, true
}

// abandon forgets a read whose caller has left.
func (s *session) abandon(id uint64) {
	s.mu.Lock()
	s.claimLocked(id)
	s.mu.Unlock()
}

func (c *slot) answer(res fsm.Result, err error, body []byte) {
	if c.caller != nil {
		c.caller.Answered(c.token, res, err)
		return
	}
	c.data <- answer{err: err, body: body} // has room for the one answer
}

// receive handles one frame.
func (s *session) receive(b []byte) error {
	if len(b) < 1 {
		return errFrame
	}
	s.pinged.Store(0)
	s.silent.Store(false)
	s.ready.Store(true)
	s.received(b)
	s.due, s.heard = s.due[:0], nil
	err := s.decode(b[1:])
	for i := range s.due {
		a := &s.due[i]
		a.answer(a.res, a.err, a.body)
		*a = answer{}
	}
	if s.heard != nil && s.pong != nil {
		s.pong(s.heard.epoch, s.heard.led)
	}
	return err
}

// decode gathers the answers of a frame, to be given without the mutex.
func (s *session) decode(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(b) > 0 {
		it, rest, err := nextItem(b)
		if err != nil {
			return err
		}
		b = rest
		var a answer
		switch it.kind {
		case kindResult:
			a.res, err = fsm.ReadResult(it.body)
		case kindFail:
			a.err, err = readFail(it.body)
		case kindData:
			a.body = append([]byte(nil), it.body...)
		case kindPong:
			if s.heard, err = readPong(it.body); err == nil {
				continue
			}
		default:
			err = errFrame
		}
		if err != nil {
			return err
		}
		if c, ok := s.claimLocked(it.id); ok {
			a.slot = c
			s.due = append(s.due, a)
		}
	}
	return nil
}

// pong is what a node says of itself when it is asked.
type pong struct {
	epoch uint64
	led   []shard.GroupID
}

func (p *pong) encode() []byte {
	dst := binary.AppendUvarint(nil, p.epoch)
	for _, g := range p.led {
		dst = binary.AppendUvarint(dst, uint64(g))
	}
	return dst
}

func readPong(b []byte) (*pong, error) {
	var p pong
	var err error
	if p.epoch, b, err = cutUvarint(b, 1<<63); err != nil {
		return nil, err
	}
	for len(b) > 0 {
		var g uint64
		if g, b, err = cutUvarint(b, shard.GroupsMax); err != nil || len(p.led) > shard.GroupsMax {
			return nil, errFrame
		}
		p.led = append(p.led, shard.GroupID(g))
	}
	return &p, nil
}

// failAll answers every call with unavailable; last closes the session.
func (s *session) failAll(last bool) {
	s.mu.Lock()
	s.closed = s.closed || last
	var all []slot
	for i := range s.slots {
		if c := s.slots[i]; c.caller != nil || c.data != nil {
			all = append(all, c)
			s.slots[i] = slot{gen: c.gen + 1}
			s.free = append(s.free, uint32(i))
		}
	}
	s.busy = 0
	s.unlock()
	err := chat.E("forward", chat.Unavailable, "the connection to another node broke or fell silent", errBroken)
	for i := range all {
		all[i].answer(fsm.Result{}, err, nil)
	}
}

// tick sends pings and notices silence; broken means the stream is past hope.
func (s *session) tick(cfg *Config, now time.Time, nth uint64) (broken bool) {
	s.mu.Lock()
	calls := s.busy
	s.mu.Unlock()
	if calls > 0 || nth%idlePings(s.pong != nil) == 0 {
		if s.put(kindPing, 0, nil, nil) {
			s.pinged.CompareAndSwap(0, mono.Of(now))
		}
	}
	first := s.pinged.Load()
	if first == 0 {
		return false
	}
	quiet := time.Duration(mono.Of(now) - first)
	if quiet >= cfg.SilentAfter && !s.silent.Swap(true) {
		s.failAll(false)
	}
	return quiet >= cfg.BreakAfter
}

// appendFail encodes an error for the other side: its code, whom to ask, when
// to come back and the text. Causes stay here.
func appendFail(dst []byte, err error) []byte {
	hint, _ := router.HintOf(err)
	var msg string
	var retry time.Duration
	if e, ok := errors.AsType[*chat.Error](err); ok {
		msg, retry = e.Msg, e.RetryAfter
	}
	dst = appendStr8(dst, string(chat.CodeOf(err)))
	dst = appendStr8(dst, string(hint))
	dst = binary.AppendUvarint(dst, uint64(max(retry.Milliseconds(), 0)))
	return append(dst, msg[:min(len(msg), messageMax)]...)
}

func readFail(b []byte) (fault, err error) {
	code, b, err := cutStr8(b)
	if err != nil {
		return nil, err
	}
	hint, b, err := cutStr8(b)
	if err != nil {
		return nil, err
	}
	ms, b, err := cutUvarint(b, uint64(time.Hour/time.Millisecond))
	if err != nil || len(b) > messageMax || code == "" {
		return nil, errFrame
	}
	if c := chat.Code(code); c == chat.Moved || c == chat.NotLeader {
		if hint != "" && !shard.ValidNodeID(shard.NodeID(hint)) {
			return nil, errFrame
		}
		return router.MovedTo(shard.NodeID(hint)), nil
	}
	e := chat.E("forward", chat.Code(code), string(b), nil)
	e.RetryAfter = time.Duration(ms) * time.Millisecond
	return e, nil
}
