package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
)

var errUnreachable = chat.E("raft transport", chat.Unavailable, "no connection to the peer", nil)

// call waits for the answer to one request. Exactly one of the methods is
// called, once, from a read loop or from who ends the connection; neither may
// block.
type call interface {
	answer(k kind, payload []byte)
	fail(err error)
}

// peer is the outbound side to one node: a connection that is kept while it is
// asked for, and the requests that wait for answers on it.
type peer struct {
	hub *Hub
	id  shard.NodeID

	mu        sync.Mutex // guards what follows
	link      *link
	calls     map[uint64]call
	nextReq   uint64
	beats     []beat        // heartbeats that wait for the tick
	up        chan struct{} // closed when a connection comes up; then replaced
	kick      chan struct{} // shortens the wait before the next dial
	running   bool
	wanted    time.Time // last demand for a connection
	suspected time.Time // a connection broke
	reported  time.Time // last told dead
	boot      uint64    // the peer's process, as it greeted
	refusal   string    // last logged, so that it is logged once
}

func newPeer(h *Hub, id shard.NodeID) *peer {
	return &peer{hub: h, id: id, calls: make(map[uint64]call), up: make(chan struct{}), kick: make(chan struct{}, 1)}
}

func (p *peer) connected() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.link != nil
}

// demand asks for a connection; the returned channel is closed when one is up.
// now says whether one is up already.
func (p *peer) demand() (up <-chan struct{}, now bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.demandLocked()
	return p.up, p.link != nil
}

func (p *peer) demandLocked() {
	if p.link != nil {
		return
	}
	p.wanted = time.Now()
	if !p.running {
		p.running = p.hub.spawn(p.run)
	}
}

// start sends a request whose answer goes to c. wait lets it wait for room in
// the socket. On an error c was not and will not be called.
func (p *peer) start(k kind, g shard.GroupID, c call, urgent, wait bool, enc func([]byte) []byte) error {
	p.mu.Lock()
	l := p.link
	if l == nil {
		p.demandLocked()
		p.mu.Unlock()
		return errUnreachable
	}
	p.nextReq++
	req := p.nextReq
	p.calls[req] = c
	p.mu.Unlock()
	err := l.send(k, g, req, urgent, wait, enc)
	if err == nil {
		return nil
	}
	p.mu.Lock()
	_, mine := p.calls[req]
	delete(p.calls, req)
	p.mu.Unlock()
	if !mine {
		return nil // the end of the connection has told c
	}
	return err
}

// forget drops a call whose caller no longer waits.
func (p *peer) forget(c call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for req, have := range p.calls {
		if have == c {
			delete(p.calls, req)
		}
	}
	p.beats = slices.DeleteFunc(p.beats, func(b beat) bool { return b.call == c })
}

// run keeps a connection while there is demand for one.
func (p *peer) run() {
	wait := redialFirst
	for p.hub.ctx.Err() == nil {
		r, err := p.connect()
		if err == nil {
			wait = redialFirst
			p.drop(p.read(r))
			p.suspect()
			continue
		}
		p.refused(err)
		if !p.stillWanted() {
			return
		}
		t := time.NewTimer(wait)
		select {
		case <-p.hub.ctx.Done():
		case <-p.kick:
			wait = redialFirst
		case <-t.C:
			wait = min(2*wait, redialLongest)
		}
		t.Stop()
	}
	p.mu.Lock()
	p.running = false
	p.mu.Unlock()
}

func (p *peer) stillWanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.running = time.Since(p.wanted) < demandFor
	return p.running
}

// connect dials and greets, and makes the connection the peer's.
func (p *peer) connect() (io.Reader, error) {
	addr := p.hub.cfg.Address(p.id)
	if addr == "" {
		return nil, errors.New("the address of the node is not known")
	}
	ctx, cancel := context.WithTimeout(p.hub.ctx, dialTimeout)
	defer cancel()
	p.hub.stats.dials.Add(1)
	conn, err := p.hub.cfg.Dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	boot, err := p.hub.greet(p.hub.ctx, conn, p.id, purposeMessages)
	if err != nil {
		_ = conn.Close() // the handshake's error counts
		return nil, err
	}
	p.greeted(boot)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.link = newLink(conn, &p.hub.stats, p.hub.tick)
	p.refusal = ""
	close(p.up)
	p.up = make(chan struct{})
	if p.hub.ctx.Err() != nil {
		p.link.fail(errLinkClosed)
	}
	return bufio.NewReaderSize(conn, readBufferBytes), nil
}

// read hands answers to their calls until the connection ends.
func (p *peer) read(r io.Reader) error {
	p.mu.Lock()
	l := p.link
	p.mu.Unlock()
	if l == nil {
		return errLinkClosed
	}
	fr := frameReader{r: r}
	for {
		f, err := fr.next()
		if err != nil {
			return err
		}
		l.recv.Store(mono.Now())
		if f.kind == kindBeatsResp {
			if err := p.answerBeats(f); err != nil {
				return err
			}
			continue
		}
		p.mu.Lock()
		c := p.calls[f.req]
		delete(p.calls, f.req)
		p.mu.Unlock()
		if c != nil {
			c.answer(f.kind, f.payload)
		}
	}
}

// drop ends the connection and fails what waits on it.
func (p *peer) drop(err error) {
	p.mu.Lock()
	l, calls, beats := p.link, p.calls, p.beats
	p.link, p.calls, p.beats = nil, make(map[uint64]call), nil
	p.mu.Unlock()
	if l == nil {
		return
	}
	l.fail(err)
	<-l.done
	p.hub.stats.breaks.Add(1)
	for _, c := range calls {
		c.fail(err)
	}
	for _, b := range beats {
		b.call.fail(err)
	}
}

// checkStall ends a connection that owes an answer and has been silent.
func (p *peer) checkStall(limit time.Duration) {
	p.mu.Lock()
	l := p.link
	owes := len(p.calls) > 0
	p.mu.Unlock()
	if l == nil {
		return
	}
	if !owes {
		l.recv.Store(mono.Now()) // silence counts from the next request
		return
	}
	if mono.Since(l.recv.Load()) > limit {
		l.fail(errors.New("the peer has been silent"))
	}
}

// suspect notes that a connection to or from the peer broke, and dials: what
// the dial meets tells a dead process from a broken path.
func (p *peer) suspect() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.suspected = time.Now()
	p.demandLocked()
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

// refused looks at a failed dial.
func (p *peer) refused(err error) {
	p.mu.Lock()
	fresh := time.Since(p.suspected) < suspectFor
	text := err.Error()
	logIt := text != p.refusal && p.hub.ctx.Err() == nil
	p.refusal = text
	p.mu.Unlock()
	if logIt {
		p.hub.log.Warn("cannot connect to a peer", "peer", string(p.id), "err", err)
	}
	if fresh && errors.Is(err, syscall.ECONNREFUSED) {
		p.dead()
	}
}

// greeted notes which process the peer is; another one than before means that
// the one before has ended.
func (p *peer) greeted(boot uint64) {
	p.mu.Lock()
	replaced := p.boot != 0 && p.boot != boot
	p.boot = boot
	if replaced && p.link == nil {
		select {
		case p.kick <- struct{}{}: // it is back: dial now
		default:
		}
	}
	p.mu.Unlock()
	if replaced {
		p.dead()
	}
}

func (p *peer) dead() {
	p.mu.Lock()
	tell := p.hub.cfg.OnDead != nil && p.hub.ctx.Err() == nil && time.Since(p.reported) >= deadEvery
	if tell {
		p.reported = time.Now()
	}
	p.mu.Unlock()
	if tell {
		p.hub.cfg.OnDead(p.id)
	}
}
