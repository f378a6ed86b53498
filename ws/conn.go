package ws

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// conn is the connection below melody. It reads ahead with shared buffers, so
// that an idle connection holds none, and closes gently.
type conn struct {
	net.Conn
	linger  time.Duration
	buffers *sync.Pool // of *[readAhead]byte

	ahead *[readAhead]byte // nil while nothing is read ahead
	from  int
	to    int
	full  bool // the last read filled what it was given: more is waiting

	closing atomic.Bool
}

// readAhead is what is read at once from a connection that has much to say.
const readAhead = 32 << 10

func newBuffer() any { return new([readAhead]byte) }

// Read reads into p while little comes, and through a shared buffer while much
// does: gorilla asks for small pieces.
func (c *conn) Read(p []byte) (int, error) {
	if c.ahead == nil && (!c.full || len(p) >= readAhead) {
		n, err := c.Conn.Read(p)
		c.full = n == len(p) && n > 0
		return n, err
	}
	if c.ahead == nil {
		c.ahead = c.buffers.Get().(*[readAhead]byte)
		n, err := c.Conn.Read(c.ahead[:])
		c.from, c.to, c.full = 0, n, n == readAhead
		if n == 0 {
			c.release()
			return 0, err
		}
	}
	n := copy(p, c.ahead[c.from:c.to])
	if c.from += n; c.from == c.to {
		c.release()
	}
	return n, nil
}

func (c *conn) release() {
	c.buffers.Put(c.ahead)
	c.ahead, c.from, c.to = nil, 0, 0
}

// SetReadDeadline implements net.Conn; a connection that is being closed keeps
// its last moment.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.closing.Load() {
		return nil
	}
	return c.Conn.SetReadDeadline(t)
}

// Close ends the writing side and leaves the reading side for a moment (K4);
// kill is called when reading has ended.
func (c *conn) Close() error {
	if !c.closing.CompareAndSwap(false, true) {
		return nil
	}
	half, ok := c.Conn.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return c.Conn.Close()
	}
	return c.Conn.SetReadDeadline(time.Now().Add(c.linger))
}

// kill breaks the connection off.
func (c *conn) kill() {
	c.closing.Store(true)
	_ = c.Conn.Close() // it may be closed already
}

// abort is kill for a peer that takes nothing: what the kernel still holds for
// it is thrown away.
func (c *conn) abort() {
	if tcp, ok := c.Conn.(interface{ SetLinger(sec int) error }); ok {
		_ = tcp.SetLinger(0) // it may be closed already
	}
	c.kill()
}
