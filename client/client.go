package client

import (
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/wire"
)

// Client is one session of one device. Its methods may be called from any
// number of goroutines.
type Client struct {
	cfg       Config
	addresses []string
	tokens    TokenSource
	log       *slog.Logger
	stop      context.CancelFunc
	done      chan struct{} // closed when the goroutine that connects has ended

	// mu guards all below. No callback, handler or I/O runs under it.
	mu       sync.Mutex
	conn     *conn // nil while not connected
	failed   error // why the client is over; nil while it lives
	hello    wire.WelcomeBody
	ids      ids
	box      outbox
	waiters  []chan struct{} // callers of send that wait for room
	expiry   *time.Timer     // at the deadline of the oldest send
	calls    map[uint64]*call
	callWait []*call // to be written
	callRef  uint64
	onWire   int // calls written and not answered
	subs     map[chat.ConvID]*Subscription
	stats    Stats
	request  wire.Request // scratch of fill
}

// Stats counts what happened beneath the calls.
type Stats struct {
	Connects   int // connections made
	Resent     int // sends written again on another connection
	Refused    int // sends refused for now and written again
	Resubs     int // subscriptions opened again after a break, a gap or a full queue
	Gaps       int // jumps seen within a subscription
	Duplicates int // entries dropped because they were delivered before
}

// Dial connects to the first of the addresses that answers and returns when
// the node has welcomed the client. An address is host:port or a ws, wss, http
// or https URL; any node of a cluster serves every conversation.
func Dial(ctx context.Context, addresses []string, tokens TokenSource, cfg Config) (*Client, error) {
	if err := cfg.Validate(); err != nil {
		return nil, chat.E("dial", chat.Invalid, "configuration", err)
	}
	if len(addresses) == 0 || tokens == nil {
		return nil, chat.E("dial", chat.Invalid, "give an address and a token source", nil)
	}
	urls := make([]string, len(addresses))
	for i, a := range addresses {
		u, err := endpoint(a)
		if err != nil {
			return nil, chat.E("dial", chat.Invalid, "address "+a, err)
		}
		urls[i] = u
	}
	if cfg.Device == "" && !cfg.DeviceFromToken {
		id := NewID()
		cfg.Device = chat.DeviceID("go-" + hex.EncodeToString(id[8:]))
	}
	c := &Client{
		cfg: cfg, addresses: urls, tokens: tokens, log: cfg.Logger,
		done:  make(chan struct{}),
		ids:   newIDs(),
		box:   newOutbox(cfg.PerConvMax),
		calls: make(map[uint64]*call),
		subs:  make(map[chat.ConvID]*Subscription),
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	c.stop = stop
	first := make(chan error, 1)
	var last lastError
	go c.run(life, first, &last)
	select {
	case err := <-first:
		if err != nil {
			_ = c.Close()
			return nil, err
		}
		return c, nil
	case <-ctx.Done():
		_ = c.Close()
		return nil, errors.Join(contextError(ctx, "dial"), last.get())
	}
}

// endpoint gives the URL of the WebSocket behind an address.
func endpoint(address string) (string, error) {
	if !strings.Contains(address, "://") {
		address = "ws://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	switch u.Scheme {
	case "ws", "wss":
	case "http":
		u.Scheme = "ws"
	case "https":
		u.Scheme = "wss"
	default:
		return "", errors.New("scheme is none of ws, wss, http, https")
	}
	if u.Host == "" {
		return "", errors.New("no host")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/ws"
	}
	return u.String(), nil
}

// lastError keeps the newest reason why no connection came about.
type lastError struct {
	mu  sync.Mutex
	err error
}

func (l *lastError) set(err error) {
	l.mu.Lock()
	l.err = err
	l.mu.Unlock()
}

func (l *lastError) get() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// run connects, serves the connection until it breaks, and starts again.
func (c *Client) run(ctx context.Context, first chan<- error, last *lastError) {
	defer close(c.done)
	next := 0
	if !c.cfg.InOrder {
		next = rand.IntN(len(c.addresses))
	}
	for attempt := 0; ; attempt++ {
		cn, err := c.connect(ctx, c.addresses[next])
		if err == nil {
			if first != nil {
				first <- nil
				first = nil
			}
			attempt = 0
			err = c.serve(ctx, cn)
		}
		if ctx.Err() != nil {
			c.fail(chat.E("client", chat.Canceled, "the client is closed; what had no answer may have been done", nil))
			return
		}
		last.set(err)
		if final(err, attempt) {
			c.log.Error("client gave up", "err", err)
			c.fail(err)
			if first != nil {
				first <- err
			}
			return
		}
		next = (next + 1) % len(c.addresses)
		// What the node asks for is kept to the own bound: another node may
		// have room at once.
		pause := max(jitter(c.cfg.BackoffMin, c.cfg.BackoffMax, attempt), min(retryAfter(err), c.cfg.BackoffMax))
		c.log.Info("client reconnects", "err", err, "pause", pause, "attempt", attempt)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// final reports whether another connection would end the same way. A token may
// have ended while it was on its way, so it takes two refusals of it.
func final(err error, attempt int) bool {
	switch chat.CodeOf(err) {
	case chat.Replaced, chat.UnsupportedVer, chat.WrongClust, chat.Forbidden, chat.Invalid:
		return true
	case chat.Unauthenticated:
		return attempt > 0
	default:
		return false
	}
}

// jitter draws a pause from [0, min(longest, shortest·2^attempt)).
func jitter(shortest, longest time.Duration, attempt int) time.Duration {
	limit := longest
	if attempt < 16 {
		limit = min(longest, shortest<<attempt)
	}
	return rand.N(limit)
}

func retryAfter(err error) time.Duration {
	if e, ok := errors.AsType[*chat.Error](err); ok {
		return e.RetryAfter
	}
	return 0
}

// fail ends the client: everything that waits gets err.
func (c *Client) fail(err error) {
	var done []finished
	var waits []func(*wire.Reply, error)
	c.mu.Lock()
	c.failed = err
	for c.box.head != nil {
		o := c.box.head
		done = append(done, finished{done: o.done, err: err})
		o.lane.stop()
		c.box.remove(o)
	}
	if c.expiry != nil {
		c.expiry.Stop()
	}
	for _, w := range c.waiters {
		close(w)
	}
	c.waiters = nil
	for ref, k := range c.calls {
		if k.done != nil && !k.once { // an opening ends with its subscription
			waits = append(waits, k.done)
		}
		delete(c.calls, ref)
	}
	c.callWait = nil
	for _, s := range c.subs {
		s.endLocked(err)
	}
	c.mu.Unlock()
	for i := range done {
		done[i].run()
	}
	for _, done := range waits {
		done(nil, err)
	}
}

// Close ends the connection, answers everything that waits with canceled, and
// returns when no goroutine of the client is left.
func (c *Client) Close() error {
	c.stop()
	<-c.done
	return nil
}

// Welcome is what the node of the present or last connection said.
func (c *Client) Welcome() wire.WelcomeBody {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// Stats counts since the start.
func (c *Client) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.stats
}

// InFlight is the number of sends without an answer.
func (c *Client) InFlight() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.box.count
}
