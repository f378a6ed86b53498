package transport

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
)

const (
	// pendingBytesHigh is where a sender of entries waits for the socket.
	pendingBytesHigh = 8 << 20
	// pendingBytesMax ends the link: answers do not wait.
	pendingBytesMax = 64 << 20
	// keepBytes bounds the buffers that an idle link keeps.
	keepBytes = 1 << 20
)

var errLinkClosed = errors.New("connection closed")

// link is one connection with a writer that sends whatever has gathered in one
// write. Frames that can wait are flushed with the next one that cannot, or at
// the hub's next tick.
type link struct {
	conn  net.Conn
	stats *counters
	tick  *ticker
	recv  atomic.Int64 // when the last frame came, as mono.Now

	mu     sync.Mutex // guards what follows
	wake   sync.Cond  // the writer, and senders that wait for room
	pend   []byte
	urgent bool
	armed  bool // for the next tick
	err    error
	done   chan struct{} // closed when the writer has ended
}

func newLink(conn net.Conn, stats *counters, tick *ticker) *link {
	l := &link{conn: conn, stats: stats, tick: tick, done: make(chan struct{})}
	l.wake.L = &l.mu
	l.recv.Store(mono.Now())
	go l.write()
	return l
}

// write is the writer's goroutine; it ends when the link failed.
func (l *link) write() {
	defer close(l.done)
	var spare []byte
	for l.await() {
		runtime.Gosched() // frames of other groups, about to be sent, go along
		l.mu.Lock()
		out := l.pend
		l.pend, l.urgent = spare[:0], false
		l.wake.Broadcast()
		l.mu.Unlock()
		n, err := l.conn.Write(out)
		l.stats.bytes.Add(uint64(n))
		l.stats.writes.Add(1)
		if err != nil {
			l.fail(err)
			return
		}
		if spare = out; cap(spare) > keepBytes {
			spare = nil
		}
	}
}

// await waits until a frame is to go out; false means the link failed.
func (l *link) await() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.err == nil && !l.urgent {
		l.wake.Wait()
	}
	return l.err == nil
}

// send appends one frame. wait makes it wait for room, for callers that may.
func (l *link) send(k kind, g shard.GroupID, req uint64, urgent, wait bool, enc func([]byte) []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for wait && l.err == nil && len(l.pend) > pendingBytesHigh {
		l.wake.Wait()
	}
	if l.err != nil {
		return l.err
	}
	if len(l.pend) > pendingBytesMax {
		l.failLocked(errors.New("the peer does not read"))
		return l.err
	}
	start := len(l.pend)
	l.pend = openFrame(l.pend, k, g, req)
	if enc != nil {
		l.pend = enc(l.pend)
	}
	sealFrame(l.pend, start)
	l.stats.frames.Add(1)
	switch {
	case urgent || l.tick.every <= 0:
		if !l.urgent {
			l.urgent = true
			l.wake.Broadcast()
		}
	case !l.armed && !l.urgent:
		l.armed = true
		l.tick.add(nil, l)
	}
	return nil
}

func (l *link) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.armed = false
	if len(l.pend) > 0 && !l.urgent {
		l.urgent = true
		l.wake.Broadcast()
	}
}

// fail ends the link; the first reason stays.
func (l *link) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failLocked(err)
}

func (l *link) failLocked(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	l.wake.Broadcast()
	_ = l.conn.Close() // the reason is recorded; both loops end by it
}
