package ws

import (
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/gorilla/websocket"
	"github.com/olahol/melody"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/session"
	"github.com/chatnode/chatnode/wire"
)

const (
	bufferFrames  = 16 // of melody, for one link
	controlFrames = 4  // of these, kept free
	spareBytesMax = 16 << 10
)

// link is one WebSocket and its session.
type link struct {
	srv   *Server
	shard *shard
	conn  *conn
	s     *session.Session
	m     *melody.Session

	mu     sync.Mutex // guards what follows; the session's lock may be taken under it
	flying int        // frames that melody holds
	spare  []byte     // a written frame, to be written into again
	last   bool       // the close frame is on its way

	listed atomic.Bool // in the shard's list
}

// Wake implements [session.Transport].
func (l *link) Wake() { l.shard.add(l) }

// pump gives melody what the session has, as far as the credit goes.
func (l *link) pump() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.flying < l.srv.cfg.Credit && !l.last {
		frame, end := l.s.Take(l.spare)
		if frame == nil {
			if end != nil {
				l.finish(wire.FaultOf(end.Code).Close, string(end.Code))
			}
			return
		}
		l.spare = nil
		l.flying++
		if l.m.Write(frame) != nil {
			return // closed; the read side ends the link
		}
	}
}

// finish queues the close frame, behind which melody writes nothing. The lock is
// held.
func (l *link) finish(code int, reason string) {
	if l.last {
		return
	}
	l.last = true
	// An error says that it is closed already.
	_ = l.m.CloseWithMsg(melody.FormatCloseMessage(code, reason))
}

// sent takes back the credit of a frame that was written.
func (l *link) sent(frame []byte) {
	l.mu.Lock()
	l.flying--
	if cap(frame) <= spareBytesMax {
		l.spare = frame[:0]
	}
	l.mu.Unlock()
	l.pump()
}

// received hands a text frame to the session. Each is read into memory of its
// own, which is the session's from here on.
func (l *link) received(frame []byte) {
	if !utf8.Valid(frame) {
		l.mu.Lock()
		l.finish(websocket.CloseInvalidFramePayloadData, "not UTF-8")
		l.mu.Unlock()
		return
	}
	l.s.Receive(frame, time.Now())
}

func (l *link) receivedBinary() {
	l.s.Strike(chat.E("receive", chat.Invalid, "frames are text", nil), time.Now())
}

// failed hears of errors. Only a full buffer needs an answer (K1): the rest is
// followed by the end of the link.
func (l *link) failed(err error) {
	if errors.Is(err, melody.ErrMessageBufferFull) {
		l.srv.overflows.Add(1)
		l.conn.abort()
	}
}

// tick looks at the clock.
func (l *link) tick(now time.Time) {
	l.s.Tick(now)
	if end := l.s.Ended(); end != nil && now.Sub(end.At) > l.srv.cfg.CloseWait {
		l.conn.abort()
	}
}

// shard is one melody instance and the goroutine that pumps its links.
type shard struct {
	melody *melody.Melody

	mu    sync.Mutex // guards dirty; taken alone
	dirty []*link
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}
}

// add lists a link to be pumped. Completions come in bursts: the goroutine that
// reports them goes on, and one frame then carries what came meanwhile.
func (s *shard) add(l *link) {
	if l.listed.Swap(true) {
		return
	}
	s.mu.Lock()
	s.dirty = append(s.dirty, l)
	first := len(s.dirty) == 1
	s.mu.Unlock()
	if first {
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
}

func (s *shard) run() {
	defer close(s.done)
	var batch []*link
	for {
		select {
		case <-s.stop:
			return
		case <-s.wake:
		}
		runtime.Gosched() // let the burst go on
		s.mu.Lock()
		batch, s.dirty = s.dirty, batch[:0]
		s.mu.Unlock()
		for i, l := range batch {
			l.listed.Store(false)
			l.pump()
			batch[i] = nil
		}
	}
}
