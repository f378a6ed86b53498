package peer

import (
	"context"
	"crypto/tls"
	"net"
	"sync"
)

// wireHolder dials for one gRPC connection and can break the TCP connection
// under it. After a silence TCP sends again only at intervals that doubled all the while,
// so a connection over a network that was away for ten seconds may stay mute for
// ten more; a new one has no such past. A new stream would not help: gRPC would open it
// on the connection that is mute.
type wireHolder struct {
	dial Dialer

	mu  sync.Mutex
	cur net.Conn // the newest
}

func newWireHolder(dial Dialer) *wireHolder {
	if dial == nil {
		plain := net.Dialer{Timeout: dialTime}
		dial = func(ctx context.Context, addr string) (net.Conn, error) { return plain.DialContext(ctx, "tcp", addr) }
	}
	return &wireHolder{dial: dial}
}

func (w *wireHolder) open(ctx context.Context, addr string) (net.Conn, error) {
	c, err := w.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	w.cur = c
	w.mu.Unlock()
	return c, nil
}

// snap breaks the connection in use. TLS is not given the time to say goodbye to
// somebody who does not listen.
func (w *wireHolder) snap() {
	w.mu.Lock()
	c := w.cur
	w.cur = nil
	w.mu.Unlock()
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	if c != nil {
		_ = c.Close() // gRPC learns of it by its own read
	}
}
