package peer

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/internal/mono"
	"github.com/chatnode/chatnode/shard"
)

// feedLink is the feed of one other node. Attachments made while there is no
// stream wait for the next one; when opening it fails, or a stream ends, all
// are lost and say so.
type feedLink struct {
	p    *Pool
	node shard.NodeID
	cc   *grpc.ClientConn
	wire *wireHolder

	mu     sync.Mutex // guards all below; held while an attachment is put into out, so that streams see all
	subs   map[chat.ConvID][]sub
	last   uint64  // number of the newest attachment
	out    *outbox // of the present stream, nil for none
	cancel context.CancelFunc

	pinged atomic.Int64
}

// sub is one attachment. What the other side says of a conversation bears the number
// of the attachment that it has come to: a later one may be on its way to it, behind
// the end of that one.
type sub struct {
	r        fanout.Receiver
	attached func() // nil once called
	number   uint64
}

// meant reports whether an answer to the attachment of that number is about s; 0 comes
// from a node of a version that does not number its answers.
func (s *sub) meant(number uint64) bool { return number == 0 || s.number <= number }

var _ fanout.Feed = (*feedLink)(nil)

func newFeedLink(p *Pool, node shard.NodeID, cc *grpc.ClientConn, wire *wireHolder) *feedLink {
	return &feedLink{p: p, node: node, cc: cc, wire: wire, subs: make(map[chat.ConvID][]sub)}
}

// Attach implements fanout.Feed.
func (f *feedLink) Attach(c chat.ConvID, r fanout.Receiver, attached func()) {
	f.mu.Lock()
	if len(f.subs) >= f.p.cfg.AttachMax || f.p.ctx.Err() != nil {
		f.mu.Unlock()
		r.Lost(c)
		return
	}
	f.last++
	f.subs[c] = append(without(f.subs[c], r), sub{r, attached, f.last})
	ok := f.out == nil || f.out.put(kindAttach, f.last, nil, []byte(c))
	if !ok {
		f.forget(c, r)
	}
	f.mu.Unlock()
	if !ok {
		r.Lost(c)
	}
}

// Detach implements fanout.Feed.
func (f *feedLink) Detach(c chat.ConvID, r fanout.Receiver) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, ok := f.subs[c]; !ok {
		return
	}
	if f.forget(c, r); f.subs[c] == nil && f.out != nil && !f.out.put(kindDetach, 0, nil, []byte(c)) {
		f.cancel() // a stream that does not even take this is past use
	}
}

func (f *feedLink) forget(c chat.ConvID, r fanout.Receiver) {
	if f.subs[c] = without(f.subs[c], r); len(f.subs[c]) == 0 {
		delete(f.subs, c)
	}
}

// without copies subs but for r: receivers hold on to the old slice.
func without(subs []sub, r fanout.Receiver) []sub {
	var out []sub
	for _, s := range subs {
		if s.r != r {
			out = append(out, s)
		}
	}
	return out
}

func (f *feedLink) run(ctx context.Context) {
	defer f.cc.Close() //nolint:errcheck // a connection that is not used any more
	defer f.lose()
	pause := pauseLeast
	for ctx.Err() == nil {
		if f.stream(ctx) {
			pause = pauseLeast
		}
		f.lose()
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, f.p.cfg.ReconnectMax)
	}
}

func (f *feedLink) stream(ctx context.Context) (worked bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	st, err := f.cc.NewStream(f.p.outgoing(ctx, f.node), streamOf(), methodFeed)
	if err != nil {
		return false
	}
	out := &outbox{}
	out.init(&f.p.pool, f.p.cfg.FramesMax, f.p.cfg.FeedBytesMax)
	f.pinged.Store(0)
	f.mu.Lock()
	f.out, f.cancel = out, cancel
	for c := range f.subs {
		if !out.put(kindAttach, f.last, nil, []byte(c)) {
			cancel()
			break
		}
	}
	f.mu.Unlock()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		out.run(func(m *frame) error { return st.SendMsg(m) })
	}()
	_ = receiveAll(st, func(b []byte) error {
		worked = true
		return f.receive(out, b)
	})
	cancel()
	out.close()
	<-sent
	return worked
}

// lose ends every attachment and says so.
func (f *feedLink) lose() {
	f.mu.Lock()
	lost := f.subs
	f.subs, f.out = make(map[chat.ConvID][]sub), nil
	f.mu.Unlock()
	for c, subs := range lost {
		for _, s := range subs {
			s.r.Lost(c)
		}
	}
}

func (f *feedLink) tick(cfg *Config, now time.Time, nth uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out == nil {
		return
	}
	if nth%idlePings(len(f.subs) > 0) == 0 && f.out.put(kindPing, 0, nil, nil) {
		f.pinged.CompareAndSwap(0, mono.Of(now))
	}
	if first := f.pinged.Load(); first != 0 && mono.Of(now)-first > int64(cfg.BreakAfter) {
		f.cancel()
		f.wire.snap()
	}
}

func (f *feedLink) receive(out *outbox, b []byte) error {
	if len(b) < 1 {
		return errFrame
	}
	f.pinged.Store(0)
	out.received(b)
	for b = b[1:]; len(b) > 0; {
		it, rest, err := nextItem(b)
		if err != nil {
			return err
		}
		b = rest
		if err := f.handle(it); err != nil {
			return err
		}
	}
	return nil
}

func (f *feedLink) handle(it item) error {
	switch it.kind {
	case kindPong:
		return nil
	case kindEntry:
		e, rest, err := conv.DecodeEntry(string(it.body))
		if err != nil || rest != "" {
			return errFrame
		}
		for _, s := range f.receivers(e.Conv) {
			s.r.Deliver(&e)
		}
		return nil
	}
	c, err := convOf(it.body)
	if err != nil {
		return err
	}
	switch it.kind {
	case kindAttached:
		f.began(c, it.id)
	case kindGap:
		for _, s := range f.receivers(c) {
			s.r.Gap(c)
		}
	case kindLost:
		f.ended(c, it.id)
	default:
		return errFrame
	}
	return nil
}

func (f *feedLink) receivers(c chat.ConvID) []sub {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.subs[c]
}

// began tells those who have not been told that deliveries have begun.
func (f *feedLink) began(c chat.ConvID, number uint64) {
	f.mu.Lock()
	subs := slices.Clone(f.subs[c])
	var due []func()
	for i := range subs {
		if s := &subs[i]; s.attached != nil && s.meant(number) {
			due = append(due, s.attached)
			s.attached = nil
		}
	}
	if due != nil {
		f.subs[c] = subs
	}
	f.mu.Unlock()
	for _, attached := range due {
		attached()
	}
}

// ended tells those whose attachment the other side has ended.
func (f *feedLink) ended(c chat.ConvID, number uint64) {
	f.mu.Lock()
	var lost, kept []sub
	for _, s := range f.subs[c] {
		if s.meant(number) {
			lost = append(lost, s)
		} else {
			kept = append(kept, s)
		}
	}
	if f.subs[c] = kept; kept == nil {
		delete(f.subs, c)
	}
	f.mu.Unlock()
	for _, s := range lost {
		s.r.Lost(c)
	}
}
