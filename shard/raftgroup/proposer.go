package raftgroup

import (
	crand "crypto/rand"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
)

// proposal is one command that waits for an entry.
type proposal struct {
	cmd  []byte
	done func(fsm.Result, error)
}

// proposer gathers the commands that wait for a group into entries. With one
// entry in flight, whatever comes while it is becomes the next: batches grow
// with the load and nothing waits when there is none.
type proposer struct {
	g *group

	mu      sync.Mutex // guards what follows
	work    sync.Cond  // workers wait for something to do
	idle    sync.Cond  // a transfer waits for what is in flight
	queue   []proposal
	head    int // of queue; what is before it was taken
	bytes   int // of queue[head:]
	taken   int // entries in flight
	open    bool
	ready   bool // the own term's entry is applied
	paused  int  // transfers in progress
	stopped bool

	order sync.Mutex // taking a batch and handing it to Raft is one step
	wg    sync.WaitGroup
}

func newProposer(g *group, workers int) *proposer {
	p := &proposer{g: g}
	p.work.L, p.idle.L = &p.mu, &p.mu
	for range workers {
		p.wg.Go(p.run)
	}
	return p
}

// propose queues a command or says at once why not.
func (p *proposer) propose(cmd []byte, done func(fsm.Result, error)) {
	if err := p.push(cmd, done); err != nil {
		done(fsm.Result{}, err)
	}
}

func (p *proposer) push(cmd []byte, done func(fsm.Result, error)) error {
	c := &p.g.host.cfg
	if len(cmd) > fsm.CommandBytesMax {
		return errTooLarge
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stopped:
		return errStopping
	case !p.open:
		return errNotLeader
	case len(p.queue)-p.head >= c.QueueCommandsMax || p.bytes+len(cmd) > c.QueueBytesMax:
		if m := p.g.host.deps.Metrics.Refused; m != nil {
			m(p.g.id)
		}
		return errBusy
	}
	if p.head > 0 && len(p.queue) == cap(p.queue) {
		n := copy(p.queue, p.queue[p.head:])
		clear(p.queue[n:])
		p.queue, p.head = p.queue[:n], 0
	}
	p.queue = append(p.queue, proposal{cmd, done})
	p.bytes += len(cmd)
	if p.ready && len(p.queue)-p.head == 1 {
		p.work.Signal()
	}
	return nil
}

func (p *proposer) depth() (commands, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.queue) - p.head, p.bytes
}

// run is one worker: it has at most one entry in flight.
func (p *proposer) run() {
	w := worker{p: p, salts: saltSource()}
	for w.round() {
	}
}

// worker holds what one worker uses again and again.
type worker struct {
	p     *proposer
	batch []proposal
	write fsm.BatchWriter
	salts *rand.ChaCha8
	ender ender
}

func saltSource() *rand.ChaCha8 {
	var seed [32]byte
	_, _ = crand.Read(seed[:]) // never fails
	return rand.NewChaCha8(seed)
}

// round takes one batch through Raft; false when the proposer is stopped.
func (w *worker) round() bool {
	p := w.p
	p.order.Lock()
	if !w.take() {
		p.order.Unlock()
		return false
	}
	start := time.Now()
	payload := w.seal()
	if m := p.g.host.deps.Metrics.Proposed; m != nil {
		m(p.g.id, len(w.batch), len(payload))
	}
	p.g.awaiting.Add(1)
	var f raft.ApplyFuture
	if gone, r := p.g.gone.Load(), p.g.raft.Load(); r != nil {
		f = r.Apply(payload, 0)
		w.ender.end(f, *gone)
	}
	p.order.Unlock()
	w.settle(f, start)
	p.g.awaiting.Add(-1)
	p.mu.Lock()
	p.taken--
	if p.taken == 0 {
		p.idle.Broadcast()
	}
	p.mu.Unlock()
	clear(w.batch)
	return true
}

// await waits until a command may go; false when the proposer is stopped. The
// lock is held.
func (p *proposer) await() bool {
	for !p.stopped && (!p.ready || p.paused > 0 || p.head == len(p.queue)) {
		p.work.Wait()
	}
	return !p.stopped
}

// take waits for commands and moves as many as one entry holds into the batch.
func (w *worker) take() bool {
	p := w.p
	w.batch = w.batch[:0]
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.await() {
		return false
	}
	p.mu.Unlock()
	runtime.Gosched() // who has several commands shall get along with all of them
	p.mu.Lock()
	if !p.await() {
		return false
	}
	size := 0
	for p.head < len(p.queue) && len(w.batch) < fsm.BatchCommandsMax {
		q := p.queue[p.head]
		size += len(q.cmd) + len(chat.Salt{}) + 4
		if len(w.batch) > 0 && size > fsm.BatchBytesMax-64 {
			break
		}
		w.batch = append(w.batch, q)
		p.bytes -= len(q.cmd)
		p.queue[p.head] = proposal{}
		p.head++
	}
	if p.head == len(p.queue) {
		p.queue, p.head = p.queue[:0], 0
	} else {
		p.work.Signal() // another worker has something to do
	}
	p.taken++
	return true
}

// seal writes the batch as an entry's payload, stamped with the time and with a
// salt for each command.
func (w *worker) seal() []byte {
	var salt chat.Salt
	size := 0
	for i := range w.batch {
		size += len(w.batch[i].cmd)
	}
	w.write.Grow(len(w.batch), size)
	for i := range w.batch {
		_, _ = w.salts.Read(salt[:]) // never fails
		w.write.Add(salt, w.batch[i].cmd)
	}
	return w.write.Detach(fsm.Stamp{TimeMS: w.p.g.host.now().UnixMilli()})
}

// settle waits for Raft and hands out the results.
func (w *worker) settle(f raft.ApplyFuture, start time.Time) {
	err := proposeError(raft.ErrNotLeader)
	if f != nil {
		if err = f.Error(); err != nil {
			err = proposeError(err)
		}
	}
	var o *outcome
	if err == nil {
		if o, _ = f.Response().(*outcome); o == nil {
			err = errLost
		} else if o.err != nil {
			err = proposeError(o.err)
		} else if len(o.results) != len(w.batch) {
			err = proposeError(errOutcome)
		}
	}
	if err != nil {
		for i := range w.batch {
			w.batch[i].done(fsm.Result{}, err)
		}
		return
	}
	if m := w.p.g.host.deps.Metrics.Committed; m != nil {
		m(w.p.g.id, len(w.batch), time.Since(start))
	}
	for i := range w.batch {
		w.batch[i].done(o.results[i], nil)
	}
	w.p.g.machine.recycle(o)
}

// admit opens the queue when the replica begins to lead; what is queued goes out
// once ready.
func (p *proposer) admit() { p.set(func() { p.open = true }) }

// begin lets entries out: the own term's entry is applied.
func (p *proposer) begin() { p.set(func() { p.open, p.ready = true, true }) }

func (p *proposer) set(fn func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn()
	p.work.Broadcast()
}

// refuse closes the queue and answers what waits in it: it is in no log.
func (p *proposer) refuse(err error) {
	p.mu.Lock()
	gone := p.queue[p.head:]
	p.queue, p.head, p.bytes = nil, 0, 0
	p.open, p.ready = false, false
	p.mu.Unlock()
	for _, q := range gone {
		q.done(fsm.Result{}, err)
	}
}

// pause holds commands back in the queue and waits until nothing is in flight
// or the time is over. resume ends it.
func (p *proposer) pause(limit time.Duration) {
	end := time.Now().Add(limit) // before the timer: its wake-up is the only one
	t := time.AfterFunc(limit, func() { p.set(func() { p.idle.Broadcast() }) })
	defer t.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused++
	for p.taken > 0 && time.Now().Before(end) {
		p.idle.Wait()
	}
}

func (p *proposer) resume() { p.set(func() { p.paused-- }) }

// stop ends the workers and answers what waits. Raft has stopped before, so that
// nothing stays in flight.
func (p *proposer) stop() {
	p.set(func() { p.stopped = true })
	p.refuse(errStopping)
	p.wg.Wait()
}
