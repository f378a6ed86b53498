package raftgroup

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/internal/fault/sabotage"
	"github.com/chatnode/chatnode/shard"
)

// readers answers when a local read is linearizable. All that wait share one
// quorum round, and who comes while a round is out waits for the next: what
// confirms a read is sent after it was asked for.
//
// A round is right because a voter that has seen no term above ours, after the
// read began, has not helped to elect a later leader before: at that moment this
// replica was the only leader, and its commit index, taken before the round,
// covers all that was acknowledged before the read.
type readers struct {
	g *group

	mu      sync.Mutex // guards what follows
	waiting []func(error)
	spare   []func(error)
	round   *round
}

// round is one question to the voters. Its counters are guarded by readers.mu.
type round struct {
	r      *readers
	dones  []func(error)
	target uint64 // the state has to contain this entry
	need   int    // confirmations, our own included
	open   int    // answers outstanding
	over   bool
	began  time.Time
}

// add queues one reader and starts a round unless one is out.
func (r *readers) add(done func(error)) {
	if r.g.lead.Load() == nil {
		done(errReadLost)
		return
	}
	r.mu.Lock()
	if len(r.waiting) >= r.g.host.cfg.ReadersMax {
		r.mu.Unlock()
		done(errReadBusy)
		return
	}
	r.waiting = append(r.waiting, done)
	begin := r.round == nil
	var rd *round
	if begin {
		rd = r.takeLocked()
	}
	r.mu.Unlock()
	if begin {
		rd.ask()
	}
}

// takeLocked makes a round of all that wait.
func (r *readers) takeLocked() *round {
	rd := &round{r: r, dones: r.waiting, began: time.Now()}
	r.waiting, r.spare = r.spare[:0], nil
	r.round = rd
	return rd
}

// ask sends the round's questions.
func (rd *round) ask() {
	g := rd.r.g
	lead, rf, trans := g.lead.Load(), g.raft.Load(), g.trans.Load()
	if lead == nil || rf == nil || trans == nil || rf.State() != raft.Leader || rf.CurrentTerm() != lead.term {
		rd.finish(errReadLost)
		return
	}
	if c := rf.CommitIndex(); c > lead.barrier {
		rd.target = c // entries up to the barrier are applied, and none after it is invisible
	}
	var ids [shard.ReplicasMax]shard.NodeID
	others, self := ids[:0], 0
	for _, s := range rf.GetConfiguration().Configuration().Servers {
		switch {
		case s.Suffrage != raft.Voter:
		case s.ID == g.host.id:
			self = 1
		default:
			others = append(others, shard.NodeID(s.ID))
		}
	}
	rd.r.mu.Lock()
	rd.need = (len(others)+self)/2 + 1 - self
	rd.open = len(others)
	rd.r.mu.Unlock()
	if rd.need <= 0 {
		rd.finish(nil)
		return
	}
	answer := rd.answer
	for _, id := range others {
		trans.Verify(id, lead.term, answer)
	}
}

// answer counts one voter's word.
func (rd *round) answer(ok bool) {
	rd.r.mu.Lock()
	rd.open--
	if ok {
		rd.need--
	}
	won, lost := rd.need <= 0, rd.need > rd.open
	over := rd.over
	rd.r.mu.Unlock()
	switch {
	case over:
	case won:
		rd.finish(nil)
	case lost:
		rd.finish(errReadLost)
	}
}

// finish answers the round's readers and starts the next round when there are
// more.
func (rd *round) finish(err error) {
	r := rd.r
	r.mu.Lock()
	if rd.over {
		r.mu.Unlock()
		return
	}
	rd.over = true
	var next *round
	if r.round == rd {
		r.round = nil
		if len(r.waiting) > 0 {
			next = r.takeLocked()
		}
	}
	r.mu.Unlock()
	if m := r.g.host.deps.Metrics.ReadRound; m != nil {
		m(r.g.id, len(rd.dones), time.Since(rd.began), err == nil)
	}
	if next != nil {
		next.ask()
	}
	if err != nil || rd.target == 0 {
		rd.reply(err)
		return
	}
	r.g.machine.whenApplied(rd.target, rd.reply)
}

func (rd *round) reply(err error) {
	for _, done := range rd.dones {
		done(err)
	}
	r := rd.r
	clear(rd.dones)
	r.mu.Lock()
	if r.spare == nil {
		r.spare = rd.dones[:0]
	}
	r.mu.Unlock()
	rd.dones = nil
}

// expire ends a round that has been out for too long, and with lost set any.
func (r *readers) expire(limit time.Duration, lost bool) {
	r.mu.Lock()
	rd := r.round
	r.mu.Unlock()
	if rd != nil && (lost || time.Since(rd.began) > limit) {
		rd.finish(errReadLost)
	}
}

// ReadIndexAsync calls done once a read of the local state of g is linearizable,
// or with the reason why it is not. done must not block.
func (h *Host) ReadIndexAsync(g shard.GroupID, done func(error)) {
	if sabotage.StaleRead() {
		done(nil)
		return
	}
	gr := h.group(g)
	if gr == nil {
		done(errNoGroup)
		return
	}
	gr.readers.add(done)
}

// ReadIndex returns when a read of the local state of g is linearizable.
func (h *Host) ReadIndex(ctx context.Context, g shard.GroupID) error {
	answer := make(chan error, 1)
	h.ReadIndexAsync(g, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return chat.E("read", chat.Timeout, "no quorum answered in time", context.Cause(ctx))
	}
}

// voters lists a configuration's voters in order of their ids.
func voters(c raft.Configuration) []shard.NodeID {
	var out []shard.NodeID
	for _, s := range c.Servers {
		if s.Suffrage == raft.Voter {
			out = append(out, shard.NodeID(s.ID))
		}
	}
	slices.Sort(out)
	return out
}
