package node

import (
	"errors"
	"strings"
	"testing"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
)

func status(id shard.NodeID, groups ...shard.GroupStatus) answer {
	return answer{status: shard.NodeStatus{Node: id, Version: "v", Groups: groups}}
}

func testMap(t *testing.T, nodes ...shard.NodeID) *shard.Map {
	t.Helper()
	m := shard.Map{Cluster: "c", Epoch: 7, Groups: []shard.Group{
		{ID: 0, Epoch: 1, Replicas: nodes}, {ID: 1, Epoch: 1, Replicas: nodes},
	}}
	for _, id := range nodes {
		m.Nodes = append(m.Nodes, shard.Node{ID: id, Client: "h:1", Peer: "h:2", State: shard.Active})
	}
	out, err := shard.New(m, shard.Spread(1))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestMergeJudgesHealth(t *testing.T) {
	leads := func(g shard.GroupID, voters ...shard.NodeID) shard.GroupStatus {
		return shard.GroupStatus{Group: g, Leads: true, State: "leader", Term: 4, Last: 10, Commit: 10, Applied: 10, Voters: voters}
	}
	follows := func(g shard.GroupID, applied uint64) shard.GroupStatus {
		return shard.GroupStatus{Group: g, State: "follower", Term: 4, Last: 10, Commit: 9, Applied: applied}
	}
	stale := leads(1, "a", "b", "c")
	stale.Term = 3                     // was deposed and does not know yet
	changing := raftgroup.GroupStatus{ // c is to vote, or not to vote any more; nobody else has that on disk yet
		Leader: "b", State: "leader", Ready: true, Settled: false, Term: 4, Last: 11, Commit: 10, Applied: 10,
		Peers: []raftgroup.PeerStatus{{ID: "a", Voter: true}, {ID: "b", Voter: true}, {ID: "c"}},
	}
	if s := groupStatus(1, changing, 0); s.Leads {
		t.Errorf("%+v: the placement would go by a configuration that may be lost again", s)
	}
	down := answer{err: errors.New("no answer")}
	full := status("b", follows(0, 10), leads(1, "a", "b", "c"))
	full.status.DiskFull = true
	three := testMap(t, "a", "b", "c")
	tests := []struct {
		name    string
		m       *shard.Map
		answers map[shard.NodeID]answer
		want    Health
		leader  shard.NodeID // of group 1
		lag     uint64       // of the last replica of group 1
		reason  string       // part of what is said
	}{
		{"all well", three, map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c"), follows(1, 10)),
			"b": status("b", follows(0, 10), leads(1, "a", "b", "c")),
			"c": status("c", follows(0, 10), follows(1, 6)),
		}, Healthy, "b", 4, ""},
		{"two leaders, the later term counts", three, map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c"), stale),
			"b": status("b", follows(0, 10), leads(1, "a", "b", "c")),
			"c": status("c", follows(0, 10), follows(1, 10)),
		}, Healthy, "b", 0, ""},
		{"a node is down", three, map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c"), follows(1, 10)),
			"b": status("b", follows(0, 10), leads(1, "a", "b", "c")),
			"c": down,
		}, Degraded, "b", 0, "node c does not answer"},
		{"a replica does not vote yet", three, map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c"), follows(1, 10)),
			"b": status("b", follows(0, 10), leads(1, "a", "b")),
			"c": status("c", follows(0, 10), follows(1, 10)),
		}, Degraded, "b", 0, "group 1 has 2 of 3 voting replicas"},
		{"members are changing", three, map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c"), follows(1, 10)),
			"b": status("b", follows(0, 10), groupStatus(1, changing, 0)),
			"c": status("c", follows(0, 10), follows(1, 10)),
		}, Degraded, "b", 0, "group 1 has 2 of 3 voting replicas"},
		{"no leader", three, map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c"), follows(1, 10)), "b": down, "c": down,
		}, Down, "", 0, "group 1 has no leader"},
		{"two nodes have one voter", testMap(t, "a", "b"), map[shard.NodeID]answer{
			"a": status("a", leads(0, "a"), leads(1, "a")), "b": status("b", follows(0, 10), follows(1, 10)),
		}, Healthy, "a", 0, ""},
		{"a disk is full", three, map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c"), follows(1, 10)),
			"b": full,
			"c": status("c", follows(0, 10), follows(1, 10)),
		}, Degraded, "b", 0, "node b has less free space than its reserve"},
		{"one replica more than wanted has no vote yet", testMap(t, "a", "b", "c", "d"), map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c", "d"), follows(1, 10)),
			"b": status("b", follows(0, 10), leads(1, "a", "b", "c")),
			"c": status("c", follows(0, 10), follows(1, 10)),
			"d": status("d", follows(0, 10), follows(1, 10)),
		}, Degraded, "b", 0, "the replica of group 1 on node d has no vote yet"},
		{"the meta group wants five", testMap(t, "a", "b", "c", "d", "e"), map[shard.NodeID]answer{
			"a": status("a", leads(0, "a", "b", "c"), follows(1, 10)),
			"b": status("b", follows(0, 10), leads(1, "a", "b", "c", "d", "e")),
			"c": status("c", follows(0, 10), follows(1, 10)),
			"d": status("d", follows(0, 10), follows(1, 10)),
			"e": status("e", follows(0, 10), follows(1, 10)),
		}, Degraded, "b", 0, "group 0 has 3 of 5 voting replicas"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := merge(tt.m, "a", 3, tt.answers)
			if r.Health != tt.want || r.Groups[1].Leader != tt.leader {
				t.Errorf("health %s with leader %q, want %s with %q (%v)", r.Health, r.Groups[1].Leader, tt.want, tt.leader, r.Reasons)
			}
			if said := strings.Join(r.Reasons, "\n"); !strings.Contains(said, tt.reason) || (said == "") != (tt.want == Healthy) {
				t.Errorf("reasons %q, want %q", said, tt.reason)
			}
			last := r.Groups[1].Replicas[len(r.Groups[1].Replicas)-1]
			if last.Lag != tt.lag {
				t.Errorf("lag of %s = %d, want %d", last.Node, last.Lag, tt.lag)
			}
			if r.Groups[1].Slots != shard.Slots {
				t.Errorf("slots = %d", r.Groups[1].Slots)
			}
		})
	}
}

// TestStatusTellsOfAFullDisk asks a node whose disk is below its reserve.
func TestStatusTellsOfAFullDisk(t *testing.T) {
	for _, full := range []bool{false, true} {
		c := valid(t)
		c.Cluster.Groups, c.Cluster.Replicas = 1, 1
		if full {
			c.Storage.ReserveBytes = 1 << 60
		}
		n := start(t, c)
		s, err := (&control{n}).Status(t.Context())
		if err = errors.Join(err, n.Stop(t.Context())); err != nil {
			t.Fatal(err)
		}
		if s.DiskFull != full {
			t.Errorf("the disk is full: %v, want %v", s.DiskFull, full)
		}
	}
}

// TestTransferToWhoLedBefore: that a node has been heard to lead is no proof that it
// does; it may be dead, and the group without a leader.
func TestTransferToWhoLedBefore(t *testing.T) {
	c := valid(t)
	c.Cluster.Groups, c.Cluster.Replicas = 1, 1
	n := start(t, c)
	v := view{steering{&control{n}}}
	n.router.LeaderChanged(2, "n9") // a group that no replica here knows better about
	dead := v.Transfer(t.Context(), 2, "n9")
	n.router.LeaderChanged(2, "n1")
	other := v.Transfer(t.Context(), 2, "n1")
	leads := v.Transfer(t.Context(), 1, "n1")
	if err := n.Stop(t.Context()); err != nil {
		t.Error(err)
	}
	if chat.CodeOf(dead) != chat.Unavailable {
		t.Errorf("to one that does not answer: %v, want unavailable", dead)
	}
	if chat.CodeOf(other) != chat.NotLeader {
		t.Errorf("to one that does not lead: %v, want not_leader", other)
	}
	if leads != nil {
		t.Errorf("to the leader: %v", leads)
	}
}
