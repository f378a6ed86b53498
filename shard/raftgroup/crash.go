package raftgroup

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

// crashStagger is the head start of each voter before the next, when they stand
// for election after a leader's process has ended: enough for an election, so
// that they do not split the votes.
const (
	crashStagger    = 40 * time.Millisecond
	crashStaggerMax = 250 * time.Millisecond
)

// peerDead is told that a peer's process has ended. The followers of its groups
// stand for election at once, in turn, instead of waiting for its silence. A
// wrong word costs an unneeded election and nothing else.
func (h *Host) peerDead(id shard.NodeID) {
	if h.ctx.Err() != nil {
		return
	}
	h.log.Warn("the process of a peer has ended", "peer", string(id))
	if m := h.deps.Metrics.PeerDead; m != nil {
		m(id)
	}
	for i := range h.groups {
		if g := h.groups[i].Load(); g != nil {
			g.leaderDied(id)
		}
	}
}

func (g *group) leaderDied(id shard.NodeID) {
	r := g.raft.Load()
	if r == nil || r.State() != raft.Follower || g.leader() != id {
		return
	}
	rank := electionRank(voters(r.GetConfiguration().Configuration()), g.id, id, g.host.deps.NodeID)
	if rank < 0 {
		return
	}
	term := r.CurrentTerm()
	if rank == 0 {
		g.elect(id, term)
		return
	}
	time.AfterFunc(time.Duration(rank)*g.stagger(), func() { g.elect(id, term) })
}

// stagger grows with the time that the three synced writes of an election take
// on a slow disk.
func (g *group) stagger() time.Duration {
	return min(max(crashStagger, 6*time.Duration(g.logs.setTook.Load())), crashStaggerMax)
}

// elect stands for election unless another leader is known by now. When the term
// has risen, an earlier voter's election is on its way: it gets more time.
func (g *group) elect(dead shard.NodeID, term uint64) {
	r, trans := g.raft.Load(), g.trans.Load()
	if r == nil || trans == nil || r.State() != raft.Follower || g.host.ctx.Err() != nil {
		return
	}
	if now := g.leader(); now != "" && now != dead {
		return
	}
	if at := r.CurrentTerm(); at > term {
		time.AfterFunc(2*g.stagger(), func() { g.elect(dead, at) })
		return
	}
	trans.Elect()
}

// electionRank is the place of self in the order in which the living voters of a
// group stand for election, −1 for none. Groups begin at different voters, which
// spreads the leaders.
func electionRank(voters []shard.NodeID, g shard.GroupID, dead, self shard.NodeID) int {
	alive := slices.DeleteFunc(slices.Clone(voters), func(id shard.NodeID) bool { return id == dead })
	i := slices.Index(alive, self)
	if i < 0 {
		return -1
	}
	n := len(alive)
	return (i - int(uint32(g))%n + n) % n
}
