package raftgroup

import (
	"testing"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
)

func TestElectionRank(t *testing.T) {
	voters := []shard.NodeID{"a", "b", "c", "d", "e"}
	for g := range shard.GroupID(9) {
		seen := map[int]shard.NodeID{}
		for _, id := range voters {
			rank := electionRank(voters, g, "c", id)
			if id == "c" {
				if rank != -1 {
					t.Errorf("group %d: the dead one has rank %d", g, rank)
				}
				continue
			}
			if other, twice := seen[rank]; twice || rank < 0 || rank >= 4 {
				t.Errorf("group %d: %s has rank %d, as %q", g, id, rank, other)
			}
			seen[rank] = id
		}
	}
}

// TestElectAgain leaves a candidate without a majority, which Raft would keep
// waiting for the election timeout, and makes it stand anew when it can be heard.
func TestElectAgain(t *testing.T) {
	cfg := calmConfig()
	cfg.Heartbeat = patience // the timeouts of Raft have no part in this
	c := newCluster(t, 3, cfg)
	c.wires.mu.Lock()
	for _, to := range c.nodes[1:] {
		c.wires.cut[pair(c.nodes[0].id, to.id)] = true
	}
	c.wires.mu.Unlock()
	c.boot(1)
	g := c.nodes[0].host.group(1)
	r, trans := g.raft.Load(), g.trans.Load()
	if !trans.Elect() {
		t.Fatal("the first election was refused")
	}
	eventually(t, "a candidate", func() bool { return r.State() == raft.Candidate && r.CurrentTerm() == 2 })
	c.wires.mu.Lock()
	clear(c.wires.cut)
	c.wires.cond.Broadcast()
	c.wires.mu.Unlock()
	eventually(t, "connections", func() bool {
		return c.nodes[0].host.hub.Connected(c.nodes[1].id) && c.nodes[0].host.hub.Connected(c.nodes[2].id)
	})
	term := r.CurrentTerm()
	eventually(t, "a place in the queue", func() bool {
		return r.State() == raft.Leader || trans.ElectAgain(r.CurrentTerm())
	})
	c.put(1, "after")
	c.same(1, 1)
	if now := r.CurrentTerm(); now < term {
		t.Errorf("the term fell from %d to %d", term, now)
	}
}
