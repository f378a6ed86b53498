package raftgroup

import (
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// machine runs a group's fsm.Machine on its state, as Raft's FSM.
type machine struct {
	id    shard.GroupID
	state *store.GroupState
	fatal func(error)
	// awaited reports whether someone here waits for results.
	awaited func() bool
	// logged is the last index of the log.
	logged func() uint64

	applied atomic.Uint64

	mu      sync.Mutex // one transaction at a time; guards m and halted
	m       fsm.Machine
	halted  error
	results chan *outcome // free ones

	waitMu  sync.Mutex // guards what follows
	waiters []waiter
	over    error // nothing is applied any more
}

// outcome is what applying one entry answers.
type outcome struct {
	results []fsm.Result
	err     error
}

// waiter waits for an index to be applied.
type waiter struct {
	index uint64
	fn    func(error)
}

var (
	_ raft.BatchingFSM = (*machine)(nil)
)

func newMachine(id shard.GroupID, state *store.GroupState, m fsm.Machine, fatal func(error)) *machine {
	f := &machine{id: id, state: state, m: m, fatal: fatal, results: make(chan *outcome, 8)}
	index, _ := state.Applied()
	f.applied.Store(index)
	return f
}

// Apply implements raft.FSM.
func (f *machine) Apply(l *raft.Log) any { return f.ApplyBatch([]*raft.Log{l})[0] }

// ApplyBatch implements raft.BatchingFSM: one transaction for all the entries.
func (f *machine) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	f.mu.Lock()
	if f.halted == nil {
		if err := f.apply(logs, out); err != nil {
			f.halt(logs, err)
		}
	}
	if f.halted != nil {
		for i := range out {
			out[i] = &outcome{err: f.halted}
		}
	}
	f.mu.Unlock()
	f.wake()
	return out
}

func (f *machine) apply(logs []*raft.Log, out []any) error {
	applied := f.applied.Load()
	last := logs[len(logs)-1]
	if last.Index <= applied {
		return nil // all of it is in the state
	}
	await := f.awaited()
	b := f.state.Begin()
	for i, l := range logs {
		if l.Index <= applied {
			continue
		}
		var err error
		switch {
		case l.Type == raft.LogConfiguration:
			err = b.SetConfiguration(l.Index, l.Data)
		case l.Type != raft.LogCommand:
		case await:
			o := f.free()
			o.results, err = f.m.Apply(b, l.Index, l.Data, o.results[:0])
			out[i] = o
		default:
			err = f.m.Replay(b, l.Index, l.Data)
		}
		if err != nil {
			b.Close()
			return fmt.Errorf("entry %d of term %d: %w", l.Index, l.Term, err)
		}
	}
	if err := b.Commit(last.Index, last.Term); err != nil {
		return err
	}
	f.applied.Store(last.Index)
	return nil
}

// halt stops the group for good: to skip an entry is to diverge.
func (f *machine) halt(logs []*raft.Log, err error) {
	f.m.Reset()
	f.halted = chat.E("apply", chat.CodeOf(err), fmt.Sprintf("group %d is halted before entries %d to %d",
		f.id, logs[0].Index, logs[len(logs)-1].Index), err)
	f.fatal(f.halted)
}

func (f *machine) free() *outcome {
	select {
	case o := <-f.results:
		return o
	default:
		return new(outcome)
	}
}

// recycle takes an outcome back that nobody reads any more.
func (f *machine) recycle(o *outcome) {
	if cap(o.results) > 2*fsm.BatchCommandsMax { // room for the most is rounded up when it is allocated
		return
	}
	clear(o.results)
	o.results = o.results[:0]
	select {
	case f.results <- o:
	default:
	}
}

// attach makes s the receiver of events of every entry that is applied after
// this call; nil detaches.
func (f *machine) attach(s fsm.Sink) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.m.SetSink(s)
}

// whenApplied calls fn once index is applied, or with an error when it will not
// be. fn must not block.
func (f *machine) whenApplied(index uint64, fn func(error)) {
	f.waitMu.Lock()
	var err error
	if f.applied.Load() < index {
		if err = f.over; err == nil {
			f.waiters = append(f.waiters, waiter{index, fn})
			f.waitMu.Unlock()
			return
		}
	}
	f.waitMu.Unlock()
	fn(err)
}

func (f *machine) wake() {
	f.waitMu.Lock()
	if len(f.waiters) == 0 {
		f.waitMu.Unlock()
		return
	}
	applied := f.applied.Load()
	var ready []waiter
	f.waiters = slices.DeleteFunc(f.waiters, func(w waiter) bool {
		if w.index > applied {
			return false
		}
		ready = append(ready, w)
		return true
	})
	f.waitMu.Unlock()
	for _, w := range ready {
		w.fn(nil)
	}
}

// abandon fails everyone who waits, or will.
func (f *machine) abandon(err error) {
	f.waitMu.Lock()
	gone := f.waiters
	f.waiters, f.over = nil, err
	f.waitMu.Unlock()
	for _, w := range gone {
		w.fn(err)
	}
}

// Snapshot implements raft.FSM: the state is on disk, nothing is captured.
func (f *machine) Snapshot() (raft.FSMSnapshot, error) { return persist{f}, nil }

// persist makes the state durable, on which Raft cuts the log.
type persist struct{ f *machine }

// Persist implements raft.FSMSnapshot. The snapshot's index may be that of an
// entry that no machine sees; the state has to reach it, or a leader would offer
// a snapshot that ends before its log begins.
func (p persist) Persist(sink raft.SnapshotSink) error {
	s, ok := sink.(*snapshotSink)
	if !ok {
		return fmt.Errorf("unexpected sink %T", sink)
	}
	if err := p.f.advance(s.meta); err != nil {
		return err
	}
	if err := p.f.state.Barrier(); err != nil {
		p.f.fatal(err)
		return err
	}
	return sink.Close()
}

func (f *machine) advance(m raft.SnapshotMeta) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.halted != nil {
		return f.halted
	}
	if m.Index <= f.applied.Load() {
		return nil
	}
	b := f.state.Begin()
	if _, have := f.state.Configuration(); m.ConfigurationIndex > have {
		if err := b.SetConfiguration(m.ConfigurationIndex, raft.EncodeConfiguration(m.Configuration)); err != nil {
			b.Close()
			return err
		}
	}
	if err := b.Commit(m.Index, m.Term); err != nil {
		return err
	}
	f.applied.Store(m.Index)
	return nil
}

// Release implements raft.FSMSnapshot.
func (p persist) Release() {}

// Restore implements raft.FSM: it swaps the received snapshot in, after which Raft
// empties the log. The log may have reached the snapshot's index since group.install
// passed the stream on; now Raft waits for this call and appends nothing. Refused,
// the snapshot is offered again and judged anew.
func (f *machine) Restore(rc io.ReadCloser) error {
	if w, ok := rc.(raft.ReadCloserWrapper); ok {
		rc = w.WrappedReadCloser()
	}
	in, ok := rc.(*received)
	if !ok {
		return fmt.Errorf("unexpected snapshot %T", rc)
	}
	if h, _ := in.install.Header(); f.logged() >= h.Index {
		return fmt.Errorf("the log has gone past the snapshot of index %d", h.Index)
	}
	return f.install(in.install)
}

// install commits a received snapshot. Commit refuses one that is behind the state.
func (f *machine) install(in *store.Install) error {
	f.mu.Lock()
	defer f.wake()
	defer f.mu.Unlock()
	if f.halted != nil {
		in.Abort()
		return f.halted
	}
	if err := in.Commit(); err != nil {
		return err
	}
	f.m.Reset()
	index, _ := f.state.Applied()
	f.applied.Store(index)
	return nil
}
