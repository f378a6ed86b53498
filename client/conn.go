package client

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/wire"
)

// conn is one connection, from its welcome to its break.
type conn struct {
	ws   *websocket.Conn
	wake chan struct{} // there is something to write; capacity 1
	dead chan struct{} // closed at the break

	once     sync.Once
	err      error        // why it broke; read after dead
	lastRead atomic.Int64 // as mono.Now

	// Under the client's lock.
	pend    []byte // an array of objects that waits for the writer
	objects int    // in pend
	corked  bool   // callbacks run: the writer is not woken for little
	spare   []byte
	ping    *time.Timer
	asks    bool // for a sign of life, before anything else

	// Of the reading goroutine.
	frame  []byte
	acks   []answered
	filled []finished
}

// answered is an ack with the ref that it answers.
type answered struct {
	ref uint64
	ack chat.Ack
}

// finished is a callback that is due.
type finished struct {
	done func(chat.Ack, error)
	ack  chat.Ack
	err  error
}

func (f *finished) run() {
	if f.done != nil {
		f.done(f.ack, f.err)
	}
}

const writeTimeout = 20 * time.Second

// kill breaks the connection with the first reason given.
func (cn *conn) kill(err error) {
	cn.once.Do(func() {
		cn.err = err
		close(cn.dead)
		_ = cn.ws.Close()
	})
}

func (cn *conn) signal() {
	select {
	case cn.wake <- struct{}{}:
	default:
	}
}

// connect dials one address and exchanges hello and welcome.
func (c *Client) connect(ctx context.Context, address string) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.DialTimeout)
	defer cancel()
	token, err := c.tokens(ctx)
	if err != nil {
		return nil, chat.E("dial", chat.Unauthenticated, "the token source failed", err)
	}
	// The dialer looks at the deadline of ctx, but not at its end: a node that takes
	// the connection and says nothing would hold up Close.
	release := func() bool { return true }
	defer func() { release() }()
	open := c.cfg.NetDial
	if open == nil {
		open = new(net.Dialer).DialContext
	}
	d := websocket.Dialer{
		NetDialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			raw, err := open(ctx, network, address)
			if err == nil {
				release = context.AfterFunc(ctx, func() { _ = raw.Close() })
			}
			return raw, err
		},
		TLSClientConfig: c.cfg.TLS,
		Subprotocols:    []string{wire.Subprotocol},
		ReadBufferSize:  c.cfg.BufferBytes,
		WriteBufferSize: c.cfg.BufferBytes,
	}
	ws, resp, err := d.DialContext(ctx, address, http.Header{"User-Agent": {c.cfg.Agent}})
	if resp != nil && resp.Body != nil {
		_ = resp.Body.Close()
	}
	if err != nil {
		return nil, dialError(address, resp, err)
	}
	cn := &conn{ws: ws, wake: make(chan struct{}, 1), dead: make(chan struct{})}
	stop := context.AfterFunc(ctx, func() { cn.kill(contextError(ctx, "dial")) })
	welcome, err := c.greet(cn, token)
	if !stop() && err == nil {
		<-cn.dead
		err = cn.err
	}
	if err != nil {
		cn.kill(err)
		return nil, err
	}
	ws.SetReadLimit(c.cfg.ReadBytesMax)
	cn.lastRead.Store(mono.Now())
	ws.SetPingHandler(func(data string) error {
		cn.lastRead.Store(mono.Now())
		err := ws.WriteControl(websocket.PongMessage, []byte(data), time.Now().Add(writeTimeout))
		if errors.Is(err, websocket.ErrCloseSent) {
			return nil
		}
		return err
	})
	c.mu.Lock()
	c.hello, c.box.self = welcome, welcome.User
	c.mu.Unlock()
	return cn, nil
}

func dialError(address string, resp *http.Response, err error) error {
	if resp == nil {
		return chat.E("dial", chat.Unavailable, address, err)
	}
	for _, f := range wire.Faults() {
		if f.HTTP == resp.StatusCode && resp.StatusCode == http.StatusUnauthorized {
			return chat.E("dial", f.Code, address, err)
		}
	}
	return chat.E("dial", chat.Unavailable, address+" answered "+resp.Status, err)
}

// greet says hello and reads the welcome.
func (c *Client) greet(cn *conn, token string) (wire.WelcomeBody, error) {
	var none wire.WelcomeBody
	hello := wire.Request{Type: wire.Hello, Ref: 1, Token: token, Device: c.cfg.Device, Version: wire.Version}
	if err := cn.ws.WriteMessage(websocket.TextMessage, wire.AppendRequest(nil, &hello)); err != nil {
		return none, chat.E("dial", chat.Unavailable, "hello", err)
	}
	for {
		_, data, err := cn.ws.ReadMessage()
		if err != nil {
			return none, closeError("dial", err)
		}
		dec := wire.NewDecoder(string(data))
		for dec.Next() {
			var r wire.Reply
			if err := dec.Reply(&r); err != nil {
				return none, chat.E("dial", chat.Invalid, "the node's answer cannot be read", err)
			}
			switch r.Type {
			case wire.Welcome:
				return r.Hello, nil
			case wire.Error, wire.Bye:
				return none, replyError("dial", &r)
			default: // nothing else comes before the welcome
			}
		}
	}
}

// closeError gives the typed error of a connection that ended.
func closeError(op string, err error) error {
	if ce, ok := errors.AsType[*websocket.CloseError](err); ok {
		if code, ok := wire.CodeOfClose(ce.Code); ok {
			return chat.E(op, code, "the node closed the connection", err)
		}
	}
	return chat.E(op, chat.Unavailable, "the connection broke", err)
}

// retryAfterMaxMS bounds what a node may ask a client to wait.
const retryAfterMaxMS = 30_000

// replyError gives the typed error that a node's frame carries.
func replyError(op string, r *wire.Reply) *chat.Error {
	e := chat.E(op, chat.Code(clone(string(r.Code))), clone(r.Message), nil)
	e.RetryAfter = time.Duration(min(r.RetryAfterMS, retryAfterMaxMS)) * time.Millisecond
	return e
}

// serve makes cn the client's connection and returns why it broke.
func (c *Client) serve(ctx context.Context, cn *conn) error {
	stop := context.AfterFunc(ctx, func() { cn.kill(contextError(ctx, "client")) })
	defer stop()
	c.attach(cn)
	written := make(chan struct{})
	go func() {
		defer close(written)
		c.write(cn)
	}()
	for {
		if err := c.readFrame(cn); err != nil {
			cn.kill(err)
			break
		}
	}
	<-written
	c.detach(cn)
	return cn.err
}

// attach puts everything that waits onto the new connection.
func (c *Client) attach(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stats.Connects++
	for o := c.box.head; o != nil; o = o.next {
		if o.wired {
			c.stats.Resent++
		}
	}
	c.conn = cn
	c.box.rewind()
	c.requeueCalls()
	for _, s := range c.subs {
		s.openLocked()
	}
	cn.ping = time.AfterFunc(c.cfg.PingInterval, func() { c.checkAlive(cn) })
	c.fill()
}

func (c *Client) detach(cn *conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cn.ping.Stop()
	c.conn = nil
	for _, s := range c.subs {
		s.closeLocked()
	}
}

// checkAlive asks a silent node for a sign of life and gives up one that does
// not answer.
func (c *Client) checkAlive(cn *conn) {
	idle := mono.Since(cn.lastRead.Load())
	if idle >= c.cfg.PingInterval+c.cfg.PongTimeout {
		cn.kill(chat.E("client", chat.Unavailable, "the node is silent", nil))
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn != cn {
		return
	}
	next := c.cfg.PingInterval - idle
	if idle >= c.cfg.PingInterval {
		cn.asks = true
		c.fill()
		next = c.cfg.PingInterval + c.cfg.PongTimeout - idle
	}
	cn.ping.Reset(max(next, time.Millisecond))
}

// write sends what fill gathers until the connection breaks.
func (c *Client) write(cn *conn) {
	for {
		c.mu.Lock()
		buf, n := cn.pend, cn.objects
		cn.pend, cn.objects, cn.spare = cn.spare[:0], 0, nil
		c.fillQuiet(cn)
		c.mu.Unlock()
		if n > 0 {
			if err := cn.writeFrame(buf, n); err != nil {
				cn.kill(closeError("client", err))
				return
			}
		}
		c.mu.Lock()
		cn.spare = buf
		more := cn.objects > 0
		c.mu.Unlock()
		if more {
			continue
		}
		select {
		case <-cn.wake:
		case <-cn.dead:
			return
		}
	}
}

// writeFrame closes the array in buf; a single object goes without brackets.
func (cn *conn) writeFrame(buf []byte, objects int) error {
	if objects == 1 {
		buf = buf[1:]
	} else {
		buf = append(buf, ']')
	}
	_ = cn.ws.SetWriteDeadline(time.Now().Add(writeTimeout))
	return cn.ws.WriteMessage(websocket.TextMessage, buf)
}

// readFrame reads and handles one frame of the node.
func (c *Client) readFrame(cn *conn) error {
	_, r, err := cn.ws.NextReader()
	if err != nil {
		return closeError("client", err)
	}
	buf := cn.frame[:0]
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF { // the reader gives it bare
			break
		}
		if err != nil {
			return closeError("client", err)
		}
	}
	cn.frame = buf
	if cap(buf) > frameKeepMax {
		cn.frame = nil
	}
	cn.lastRead.Store(mono.Now())
	return c.handle(cn, string(buf)) // a copy: entries point into it
}

const frameKeepMax = 256 << 10

// handle takes one frame apart. Acks are gathered and settled under one lock.
func (c *Client) handle(cn *conn, frame string) error {
	dec := wire.NewDecoder(frame)
	var r wire.Reply
	var bye error
	for dec.Next() {
		if err := dec.Reply(&r); err != nil {
			if chat.CodeOf(err) == chat.UnknownType {
				continue // a newer node may say more
			}
			return chat.E("client", chat.Unavailable, "the node's frame cannot be read", err)
		}
		switch r.Type {
		case wire.Ack:
			if isSendRef(r.Ref) {
				cn.acks = append(cn.acks, answered{r.Ref, r.Ack})
				continue
			}
			c.answerCall(&r)
		case wire.Error:
			c.onError(&r)
		case wire.Entries:
			c.onEntries(&r)
		case wire.Unsubscribed:
			c.onUnsubscribed(&r)
		case wire.Bye:
			bye = replyError("client", &r)
		default:
			c.answerCall(&r)
		}
		if r.Entries != nil || r.Type != wire.Ack {
			r = wire.Reply{} // what was handed on is not written over
		}
	}
	c.settleAcks(cn)
	return bye
}
