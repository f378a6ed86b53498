package peer

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"time"
)

// Split divides the connections of the peer port between gRPC and the Raft
// transport. With TLS the protocol that the handshake agreed on decides
// ([ALPN], [ALPNRaft]); without, the first byte: gRPC's connections begin with
// 'P', and the Raft transport's must not. l is closed when both are.
func Split(l net.Listener, cfg Config, conf *tls.Config) (rpc, raft net.Listener) {
	if conf != nil {
		conf = conf.Clone()
		conf.NextProtos = []string{ALPN, ALPNRaft}
	}
	s := &splitter{l: l, cfg: cfg, tls: conf, tokens: make(chan struct{}, cfg.HandshakesMax), open: 2}
	s.ctx, s.cancel = context.WithCancel(context.Background()) // ends with the listeners
	s.rpc = &part{s: s, conns: make(chan net.Conn), closed: make(chan struct{})}
	s.raft = &part{s: s, conns: make(chan net.Conn), closed: make(chan struct{})}
	s.wg.Go(s.accept)
	return s.rpc, s.raft
}

// TLSDialer dials peer ports with TLS for one protocol of the port.
func TLSDialer(conf *tls.Config, protocol string) Dialer {
	conf = conf.Clone()
	conf.NextProtos = []string{protocol}
	d := &tls.Dialer{Config: conf, NetDialer: &net.Dialer{Timeout: dialTime}}
	return func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
}

const dialTime = 5 * time.Second

type splitter struct {
	l         net.Listener
	cfg       Config
	tls       *tls.Config
	rpc, raft *part
	tokens    chan struct{}   // of running handshakes
	ctx       context.Context // ends handshakes with the listeners
	cancel    context.CancelFunc
	wg        sync.WaitGroup

	mu   sync.Mutex // guards open and err
	open int        // parts not closed
	err  error      // why accepting ended
}

func (s *splitter) accept() {
	pause := 5 * time.Millisecond
	for {
		c, err := s.l.Accept()
		if err != nil {
			if s.ctx.Err() == nil && !errors.Is(err, net.ErrClosed) && sleep(s.ctx, pause) {
				pause = min(2*pause, time.Second) // such as: too many open files
				continue
			}
			s.end(err)
			return
		}
		pause = 5 * time.Millisecond
		select {
		case s.tokens <- struct{}{}:
			s.wg.Go(func() {
				defer func() { <-s.tokens }()
				s.handle(c)
			})
		case <-s.ctx.Done():
			c.Close() // nobody wants it any more
		}
	}
}

func (s *splitter) end(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	s.cancel()
}

// handle finds out what a connection is and hands it over.
func (s *splitter) handle(raw net.Conn) {
	stop := context.AfterFunc(s.ctx, func() { raw.SetDeadline(time.Unix(1, 0)) }) //nolint:errcheck // a closed one needs none
	raw.SetDeadline(time.Now().Add(s.cfg.HandshakeTime))                          //nolint:errcheck // reading tells
	to, c, err := s.sort(raw)
	if err == nil && stop() {
		err = c.SetDeadline(time.Time{})
	} else if err == nil {
		err = net.ErrClosed
	}
	if err != nil {
		c.Close() // it is the other side's fault
		return
	}
	select {
	case to.conns <- c:
	case <-to.closed:
		c.Close() // nobody wants it any more
	case <-s.ctx.Done():
		c.Close() // nobody wants it any more
	}
}

func (s *splitter) sort(c net.Conn) (*part, net.Conn, error) {
	if s.tls != nil {
		t := tls.Server(c, s.tls)
		if err := t.HandshakeContext(s.ctx); err != nil {
			return nil, c, err
		}
		switch t.ConnectionState().NegotiatedProtocol {
		case ALPN:
			return s.rpc, t, nil
		case ALPNRaft:
			return s.raft, t, nil
		}
		return nil, t, errors.New("no protocol of this port")
	}
	p := &peeked{Conn: c}
	if _, err := c.Read(p.first[:]); err != nil {
		return nil, c, err
	}
	p.held = true
	if p.first[0] == 'P' {
		return s.rpc, p, nil
	}
	return s.raft, p, nil
}

// peeked is a connection whose first byte was read.
type peeked struct {
	net.Conn
	first [1]byte
	held  bool
}

// Read gives the first byte, then what follows.
func (p *peeked) Read(b []byte) (int, error) {
	if p.held && len(b) > 0 {
		p.held = false
		b[0] = p.first[0]
		return 1, nil
	}
	return p.Conn.Read(b)
}

// part is the listener of one protocol.
type part struct {
	s      *splitter
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

// Accept implements net.Listener.
func (p *part) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	case <-p.s.ctx.Done():
		p.s.mu.Lock()
		defer p.s.mu.Unlock()
		if p.s.err != nil {
			return nil, p.s.err
		}
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener. The second of the two closes the port and
// waits.
func (p *part) Close() (err error) {
	p.once.Do(func() {
		close(p.closed)
		p.s.mu.Lock()
		p.s.open--
		last := p.s.open == 0
		p.s.mu.Unlock()
		if last {
			p.s.cancel()
			err = p.s.l.Close()
			p.s.wg.Wait()
		}
	})
	return err
}

// Addr implements net.Listener.
func (p *part) Addr() net.Addr { return p.s.l.Addr() }
