package node

import (
	"fmt"
	"slices"

	"github.com/chatnode/chatnode/shard"
)

// Health is the state of a cluster in one word.
type Health string

// The states.
const (
	Healthy  Health = "healthy"  // every group has a leader and all its replicas
	Degraded Health = "degraded" // everything is served, with fewer replicas than wanted
	Down     Health = "down"     // at least one group has no leader
)

// LocalReport is what a node says of itself.
type LocalReport struct {
	Node     shard.NodeID    `json:"node"`
	Version  string          `json:"version"`
	UptimeMS int64           `json:"uptime_ms"`
	Ready    bool            `json:"ready"`
	LogBytes int64           `json:"log_bytes"` // of the Raft logs of all groups
	Free     int64           `json:"free_bytes"`
	Replicas []ReplicaReport `json:"replicas"`
}

// ReplicaReport is one group's replica on one node.
type ReplicaReport struct {
	Group   shard.GroupID `json:"group"`
	Node    shard.NodeID  `json:"node"`
	Role    string        `json:"role"` // leader, follower, candidate; unreachable when the node did not answer
	Voter   bool          `json:"voter"`
	Leader  shard.NodeID  `json:"leader"` // as this replica sees it
	Term    uint64        `json:"term"`
	First   uint64        `json:"first"`
	Last    uint64        `json:"last"`
	Commit  uint64        `json:"commit"`
	Applied uint64        `json:"applied"`
	Lag     uint64        `json:"lag"` // entries that the leader has committed and this replica has not applied
	Bytes   int64         `json:"bytes"`
}

// NodeReport is one member of the cluster.
type NodeReport struct {
	Node      shard.NodeID `json:"node"`
	Client    string       `json:"client"`
	Peer      string       `json:"peer"`
	Zone      string       `json:"zone"`
	State     string       `json:"state"` // active or leaving
	Reachable bool         `json:"reachable"`
	Version   string       `json:"version"`
	UptimeMS  int64        `json:"uptime_ms"`
	Replicas  int          `json:"replicas"`
	Leaders   int          `json:"leaders"`
	Free      int64        `json:"free_bytes"`
	Error     string       `json:"error,omitempty"`
}

// GroupReport is one group over all its replicas.
type GroupReport struct {
	Group    shard.GroupID   `json:"group"`
	Slots    int             `json:"slots"`
	Leader   shard.NodeID    `json:"leader"`
	Term     uint64          `json:"term"`
	Last     uint64          `json:"last"`
	Applied  uint64          `json:"applied"`
	Bytes    int64           `json:"bytes"` // on the leader, or on the replica that has most
	Replicas []ReplicaReport `json:"replicas"`
}

// ClusterReport is the whole cluster as one node gathered it.
type ClusterReport struct {
	Cluster string        `json:"cluster"`
	Epoch   uint64        `json:"epoch"`
	From    shard.NodeID  `json:"from"` // who gathered it
	Health  Health        `json:"health"`
	Reasons []string      `json:"reasons"`
	Nodes   []NodeReport  `json:"nodes"`
	Groups  []GroupReport `json:"groups"`
}

// answer is one node's report, or why there is none.
type answer struct {
	report LocalReport
	err    error
}

// merge puts the map and what the nodes said together. wanted is the number of
// replicas that each group should have.
func merge(m *shard.Map, from shard.NodeID, wanted int, answers map[shard.NodeID]answer) ClusterReport {
	out := ClusterReport{Cluster: m.Cluster, Epoch: m.Epoch, From: from, Health: Healthy, Reasons: []string{}}
	for i := range m.Nodes {
		out.Nodes = append(out.Nodes, nodeReport(&m.Nodes[i], answers[m.Nodes[i].ID]))
	}
	slots := make([]int, len(m.Groups))
	for s := range shard.Slots {
		slots[m.GroupOf(shard.Slot(s))]++
	}
	for i := range m.Groups {
		out.Groups = append(out.Groups, groupReport(&m.Groups[i], slots[i], answers))
	}
	for _, n := range out.Nodes {
		if !n.Reachable {
			out.worsen(Degraded, "node %s does not answer", n.Node)
		}
	}
	for _, g := range out.Groups {
		out.judge(g, min(wanted, len(m.Nodes)))
	}
	return out
}

func (r *ClusterReport) judge(g GroupReport, wanted int) {
	reached := 0
	for _, p := range g.Replicas {
		if p.Role != unreachable && p.Voter {
			reached++
		}
	}
	switch {
	case g.Leader == "":
		r.worsen(Down, "group %d has no leader", g.Group)
	case reached < wanted:
		r.worsen(Degraded, "group %d has %d of %d voting replicas", g.Group, reached, wanted)
	}
}

func (r *ClusterReport) worsen(to Health, format string, args ...any) {
	if r.Health == Healthy || to == Down {
		r.Health = to
	}
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}

const unreachable = "unreachable"

func nodeReport(n *shard.Node, a answer) NodeReport {
	out := NodeReport{Node: n.ID, Client: n.Client, Peer: n.Peer, Zone: n.Zone, State: "active"}
	if n.State == shard.Leaving {
		out.State = "leaving"
	}
	if a.err != nil {
		out.Error = a.err.Error()
		return out
	}
	if a.report.Node == "" {
		out.Error = "not asked"
		return out
	}
	out.Reachable, out.Version, out.UptimeMS, out.Free = true, a.report.Version, a.report.UptimeMS, a.report.Free
	out.Replicas = len(a.report.Replicas)
	for _, r := range a.report.Replicas {
		if r.Role == "leader" {
			out.Leaders++
		}
	}
	return out
}

func groupReport(g *shard.Group, slots int, answers map[shard.NodeID]answer) GroupReport {
	out := GroupReport{Group: g.ID, Slots: slots}
	var commit uint64
	for _, id := range g.Replicas {
		r := ReplicaReport{Group: g.ID, Node: id, Role: unreachable}
		for _, p := range answers[id].report.Replicas {
			if p.Group == g.ID {
				r = p
			}
		}
		// Of two that say they lead, the one of the later term does.
		if r.Role == "leader" && r.Term >= out.Term {
			out.Leader, out.Term, out.Last, out.Applied = id, r.Term, r.Last, r.Applied
		}
		commit = max(commit, r.Commit)
		out.Bytes = max(out.Bytes, r.Bytes)
		out.Replicas = append(out.Replicas, r)
	}
	for i := range out.Replicas {
		r := &out.Replicas[i]
		if r.Role != unreachable && commit > r.Applied {
			r.Lag = commit - r.Applied
		}
	}
	slices.SortFunc(out.Replicas, func(a, b ReplicaReport) int {
		if a.Node < b.Node {
			return -1
		}
		return 1
	})
	return out
}
