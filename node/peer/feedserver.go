package peer

import (
	"sync"

	"google.golang.org/grpc"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm/conv"
)

// feedStream gives another node's front-end the entries of the conversations
// that it has attached. It is the receiver of this node's bus. When the other
// side does not take frames fast enough, entries are left out and the gap is
// told as soon as there is room: nothing waits for a slow node.
type feedStream struct {
	outbox                            // its mutex guards the fields below too
	attached map[chat.ConvID]uint64   // the number of the newest attachment, for what is said of it
	gaps     map[chat.ConvID]struct{} // to be told; a subset of attached
	buf      []byte
}

func (s *Server) serveFeed(st grpc.ServerStream) error {
	if err := s.admit(st.Context()); err != nil {
		return err
	}
	f := &feedStream{attached: make(map[chat.ConvID]uint64), gaps: make(map[chat.ConvID]struct{})}
	f.init(&s.pool, s.cfg.FramesMax, s.cfg.FeedBytesMax)
	var wg sync.WaitGroup
	wg.Go(func() {
		f.run(func(m *frame) error {
			f.tellGaps()
			return st.SendMsg(m)
		})
	})
	f.put(kindPong, 0, (&pong{epoch: s.deps.Identity.Epoch()}).encode(), nil)
	var err error
	var in frame
	for err == nil {
		if err = st.RecvMsg(&in); err == nil {
			err = s.attach(f, in.in)
		}
		in.free()
	}
	f.mu.Lock()
	f.closed = true
	attached := f.attached
	f.attached = nil
	f.unlock()
	for c := range attached {
		s.deps.Feed.Detach(c, f)
	}
	wg.Wait()
	return nil
}

// attach handles one frame of the front-end.
func (s *Server) attach(f *feedStream, b []byte) error {
	if len(b) < 1 {
		return errFrame
	}
	f.received(b)
	for b = b[1:]; len(b) > 0; {
		it, rest, err := nextItem(b)
		if err != nil {
			return err
		}
		b = rest
		if it.kind == kindPing {
			f.put(kindPong, 0, (&pong{epoch: s.deps.Identity.Epoch()}).encode(), nil)
			continue
		}
		c, err := convOf(it.body)
		if err != nil {
			return err
		}
		switch it.kind {
		case kindAttach:
			if !f.add(c, it.id, s.cfg.AttachMax) {
				f.say(kindLost, it.id, c)
				continue
			}
			s.deps.Feed.Attach(c, f, func() { f.say(kindAttached, it.id, c) })
		case kindDetach:
			f.drop(c)
			s.deps.Feed.Detach(c, f)
		default:
			return errFrame
		}
	}
	return nil
}

func (f *feedStream) add(c chat.ConvID, number uint64, most int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.attached[c]; !ok && len(f.attached) >= most {
		return false
	}
	f.attached[c] = number
	return true
}

func (f *feedStream) drop(c chat.ConvID) (number uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	number = f.attached[c]
	delete(f.attached, c)
	delete(f.gaps, c)
	return number
}

// say sends an item about a conversation that must not get lost.
func (f *feedStream) say(kind byte, number uint64, c chat.ConvID) {
	f.mu.Lock()
	f.insistLocked(kind, number, nil, []byte(c))
	f.unlock()
}

// Deliver implements fanout.Receiver.
func (f *feedStream) Deliver(e *chat.Entry) {
	f.mu.Lock()
	if _, ok := f.attached[e.Conv]; ok {
		f.buf = conv.AppendEntry(f.buf[:0], e)
		if !f.putLocked(kindEntry, 0, nil, f.buf) {
			f.gaps[e.Conv] = struct{}{}
		}
	}
	f.unlock()
}

// Gap implements fanout.Receiver.
func (f *feedStream) Gap(c chat.ConvID) {
	f.mu.Lock()
	if _, ok := f.attached[c]; ok && !f.putLocked(kindGap, 0, nil, []byte(c)) {
		f.gaps[c] = struct{}{}
	}
	f.unlock()
}

// Lost implements fanout.Receiver.
func (f *feedStream) Lost(c chat.ConvID) {
	f.say(kindLost, f.drop(c), c)
}

// tellGaps sends what could not be said before.
func (f *feedStream) tellGaps() {
	f.mu.Lock()
	for c := range f.gaps {
		if f.bytes > f.bytesMax/2 || !f.putLocked(kindGap, 0, nil, []byte(c)) {
			break
		}
		delete(f.gaps, c)
	}
	f.unlock()
}
