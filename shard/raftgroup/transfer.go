package raftgroup

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
)

// TransferLeadership moves the leadership to a voter, or to the one that is
// furthest when to is "". Proposals that come meanwhile wait in the queue.
func (h *Host) TransferLeadership(ctx context.Context, g shard.GroupID, to shard.NodeID) error {
	gr := h.group(g)
	if gr == nil {
		return errNoGroup
	}
	var last error
	for try := range transferTries {
		if try > 0 {
			select {
			case <-ctx.Done():
				return chat.E("transfer leadership", chat.Timeout, "", errors.Join(context.Cause(ctx), last))
			case <-time.After(transferPause << try):
			}
		}
		gone, r, trans := gr.gone.Load(), gr.raft.Load(), gr.trans.Load()
		if r == nil || trans == nil || r.State() != raft.Leader {
			return chat.E("transfer leadership", chat.NotLeader, "this node does not lead the group", last)
		}
		target := to
		if target == "" {
			if target = gr.successor(r); target == "" {
				return chat.E("transfer leadership", chat.Unavailable, "no other voter can be reached", last)
			}
		} else if target != h.deps.NodeID && !gr.keepsUp(r, target) {
			last = errNoContact
			continue
		}
		gr.proposer.pause(drainLimit)
		last = waitFuture(ctx, endWith(r.LeadershipTransferToServer(raft.ServerID(target), raft.ServerAddress(target)), *gone))
		if last == nil {
			gr.awaitLost(ctx)
		} else if p := trans.Progress(target); p.Durable < r.LastIndex() {
			gr.vain.note(target, vainTransfer{term: r.CurrentTerm(), durable: p.Durable})
		}
		gr.proposer.resume()
		if last == nil || ctx.Err() != nil {
			break
		}
	}
	if last != nil {
		return chat.E("transfer leadership", chat.Unavailable, "", last)
	}
	return nil
}

// awaitLost waits until the loss of the leadership was noticed, so that what
// waits in the queue is sent on and not to a Raft that refuses it.
func (g *group) awaitLost(ctx context.Context) {
	for end := time.Now().Add(g.host.cfg.Heartbeat); g.lead.Load() != nil && ctx.Err() == nil && time.Now().Before(end); {
		t := time.NewTimer(time.Millisecond)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// successor is the voter that is furthest and in contact.
func (g *group) successor(r *raft.Raft) (best shard.NodeID) {
	trans := g.trans.Load()
	if trans == nil {
		return ""
	}
	var most uint64
	for _, id := range voters(r.GetConfiguration().Configuration()) {
		if id == g.host.deps.NodeID {
			continue
		}
		if p := trans.Progress(id); g.keepsUp(r, id) && (best == "" || p.Match > most) {
			best, most = id, p.Match
		}
	}
	return best
}

// vainTransfer is a transfer that ended before its target had all entries.
type vainTransfer struct {
	term    uint64
	durable uint64 // what the target had acknowledged
}

// vainTransfers are the last ones of each target.
type vainTransfers struct {
	mu sync.Mutex
	to map[shard.NodeID]vainTransfer
}

func (v *vainTransfers) note(to shard.NodeID, t vainTransfer) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.to == nil {
		v.to = make(map[shard.NodeID]vainTransfer)
	}
	for id, old := range v.to { // nobody comes back to those of earlier terms
		if old.term < t.term {
			delete(v.to, id)
		}
	}
	v.to[to] = t
}

// waits reports whether one that was tried in this term may still wait for its
// target, which has acknowledged nothing since.
func (v *vainTransfers) waits(to shard.NodeID, term, durable uint64) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	t, ok := v.to[to]
	return ok && t.term == term && durable <= t.durable
}

var errNoContact = errors.New("that node cannot be reached, or does not keep up")

// keepsUp reports whether a transfer to a voter can end. Raft v1.7.3 hands each
// transfer to the goroutine that replicates to its target. While that waits for a
// target that is gone or whose disk hangs, a second one cannot be handed over, and
// Raft refuses all entries until it can: the group would stand still.
func (g *group) keepsUp(r *raft.Raft, id shard.NodeID) bool {
	trans := g.trans.Load()
	if trans == nil {
		return false
	}
	p := trans.Progress(id)
	return time.Since(p.Contact) < 2*g.host.cfg.Heartbeat && !g.vain.waits(id, r.CurrentTerm(), p.Durable)
}
