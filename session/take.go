package session

import (
	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// Take gives the next frame to write, which belongs to the caller from then on.
// spare is a buffer for the session to write into later, nil for none. Without a
// frame the transport sleeps until the next Wake, or, when end is given, closes
// the connection.
func (s *Session) Take(spare []byte) (frame []byte, end *Ending) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return nil, s.end
	}
	s.takes++
	if len(s.out.full) == 0 && s.state == live {
		s.serve()
	}
	if s.state == ending && s.out.empty() && !s.said {
		s.bye()
	}
	waited := s.out.size() >= s.cfg.QueueBytesMax
	frame = s.out.take(spare)
	if waited && s.out.size() < s.cfg.QueueBytesMax {
		s.roomMade()
	}
	if frame == nil {
		s.awake = false
		if s.state == ending {
			return nil, s.end
		}
	}
	return frame, nil
}

// serve adds entries of the subscriptions that have some to the frame that is
// being filled, in turn. The lock is held.
func (s *Session) serve() {
	for n := len(s.ready); n > 0 && s.out.cur.Len() < s.cfg.FrameBytes && len(s.out.full) == 0; n-- {
		b := s.ready[0]
		s.ready[0] = nil
		s.ready = s.ready[1:]
		b.queued = false
		if !b.gone {
			s.serveOne(b)
		}
	}
	if len(s.ready) == 0 {
		s.ready = nil
	}
}

func (s *Session) serveOne(b *sub) {
	if b.cursor+1 >= b.since {
		start := s.out.begin()
		head := b.tail.HeadFor(b.cursor, b.member, s.who.User)
		buf := wire.OpenEntries(start, b.conv, max(head, b.cursor))
		bare := len(buf)
		out, last, cut, ok := b.tail.Append(buf, b.cursor, b.member, s.who.User, bare+s.cfg.FrameBytes)
		if ok {
			if last > b.cursor {
				s.out.commit(wire.CloseEntries(out))
				b.cursor = last
				if cut {
					s.cut(b)
					return
				}
				if last < head {
					s.enqueue(b)
				}
			}
			return
		}
	}
	b.reads = true
	s.queueJob(&s.first, func() { s.catchUp(b) })
}

// bye queues the last frame. The lock is held.
func (s *Session) bye() {
	r := &wire.Reply{
		Type: wire.Bye, Code: s.end.Code, Message: s.end.Message, RetryAfterMS: uint64(s.end.RetryAfter.Milliseconds()),
	}
	for _, b := range s.subs {
		if b.open && len(r.Resume) < wire.ResumeMax {
			r.Resume = append(r.Resume, wire.Cursor{Conv: b.conv, Seq: b.cursor})
		}
	}
	s.out.commit(wire.AppendReply(s.out.begin(), r))
	s.said = true
}

// Waiting reports how many bytes wait to be taken.
func (s *Session) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.size()
}

// Who is the user and the device, empty before the login.
func (s *Session) Who() (chat.UserID, chat.DeviceID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.who.User, s.device
}
