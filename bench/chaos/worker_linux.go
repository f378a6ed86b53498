package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/client"
	"github.com/chatnode/chatnode/internal/check"
	"github.com/chatnode/chatnode/wire"
)

// worker is one device that writes and reads.
type worker struct {
	l       *load
	user    string
	cl      *client.Client
	rnd     *rand.Rand
	sent    map[string]int64 // conversation → messages sent there
	waiting atomic.Int64
	streams []*stream
}

// run works until ctx ends. Operations that are still without an answer then go
// on and count in the load's wait group.
func (w *worker) run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		t.Reset(time.Duration((0.5 + w.rnd.Float64()) / w.l.cfg.Rate * float64(time.Second)))
		conv := w.l.convs[w.rnd.IntN(len(w.l.convs))]
		kind, pick := w.rnd.IntN(100), w.rnd.Uint64()
		if w.waiting.Load() >= unansweredMax {
			continue
		}
		switch {
		case kind < 65:
			w.send(context.WithoutCancel(ctx), conv, nil)
		case kind < 88:
			w.read(ctx, conv, pick)
		default:
			w.stale(ctx, conv, pick)
		}
	}
}

// send appends a message in the order of the calls; then gets what became of it.
func (w *worker) send(ctx context.Context, conv string, then func(error)) {
	id := client.NewID()
	body := text(w.rnd, w.l.cfg.TextBytesMax)
	w.sent[conv]++
	op := &check.Op{Kind: check.Append, Conv: conv, User: w.user, Device: device, Call: w.l.now(), MsgID: id.String(),
		N: w.sent[conv], Sum: messageSum(w.user, device, id.String(), body)}
	w.l.rec.Invoke(op)
	w.begin()
	done := func(ack chat.Ack, err error) {
		defer w.end()
		w.l.answered(op, ack, err)
		if then != nil {
			then(err)
		}
	}
	if err := w.cl.SendAsync(ctx, client.Message{Conv: chat.ConvID(conv), Text: body, ID: id}, done); err != nil {
		done(chat.Ack{}, err)
	}
}

func (w *worker) begin() {
	w.waiting.Add(1)
	w.l.wg.Add(1)
}

func (w *worker) end() {
	w.waiting.Add(-1)
	w.l.wg.Done()
}

// page draws what to ask for: the newest entries, or some from a seq on.
func (w *worker) page(op *check.Op, pick uint64) {
	op.Limit = 1 + pick%pageMax
	if head := w.l.head(op.Conv); pick%3 == 0 && head > 0 {
		op.From = 1 + (pick>>8)%head
	}
}

func (w *worker) read(ctx context.Context, conv string, pick uint64) {
	op := &check.Op{Kind: check.Read, Conv: conv, User: w.user, Device: device}
	w.page(op, pick)
	w.begin()
	go func() {
		defer w.end()
		w.l.read(context.WithoutCancel(ctx), w.cl, op, wire.Linearizable)
	}()
}

// stale reads from one node as the auditor.
func (w *worker) stale(ctx context.Context, conv string, pick uint64) {
	at := int(pick>>16) % len(w.l.byNode)
	op := &check.Op{Kind: check.Stale, Conv: conv, User: auditor, Device: fmt.Sprintf("at-%d", at+1), Node: fmt.Sprint(at + 1)}
	w.page(op, pick)
	if pick%4 == 1 {
		op.MinSeq = w.l.head(conv)
	}
	w.begin()
	go func() {
		defer w.end()
		w.l.read(context.WithoutCancel(ctx), w.l.byNode[at], op, wire.Stale)
	}()
}

// stream is a subscription whose deliveries are recorded.
type stream struct {
	l    *load
	conv string
	id   int64
	sub  *client.Subscription

	mu   sync.Mutex
	last uint64
}

// subscribe follows conv from the given seq on.
func (l *load) subscribe(cl *client.Client, user, conv string, from uint64) (*stream, error) {
	s := &stream{l: l, conv: conv}
	rec := &check.Stream{Conv: conv, User: user, From: from}
	l.rec.Open(rec)
	s.id = rec.ID
	sub, err := cl.SubscribeFunc(chat.ConvID(conv), chat.Seq(from), s.take)
	s.sub = sub
	return s, err
}

func (s *stream) take(entries []chat.Entry) {
	now := s.l.now()
	for i := range entries {
		s.l.rec.Deliver(s.id, check.Delivery{Seen: seen(&entries[i]), At: now})
	}
	if n := len(entries); n > 0 {
		s.mu.Lock()
		s.last = max(s.last, uint64(entries[n-1].Seq))
		s.mu.Unlock()
	}
}

func (s *stream) reached() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// follow lets each worker subscribe to some conversations from the start.
func (l *load) follow() error {
	for i, w := range l.workers {
		for k, conv := range l.convs {
			if (i+k)%4 != 0 {
				continue
			}
			s, err := l.subscribe(w.cl, w.user, conv, 1)
			if err != nil {
				return fmt.Errorf("subscribe %s to %s: %w", w.user, conv, err)
			}
			w.streams = append(w.streams, s)
		}
	}
	return nil
}
