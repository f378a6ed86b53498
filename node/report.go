package node

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/placement"
)

// Health is the state of a cluster in one word.
type Health string

// The states.
const (
	Healthy  Health = "healthy"  // every group has a leader and all its replicas
	Degraded Health = "degraded" // there are leaders, with fewer replicas than wanted or a full disk
	Down     Health = "down"     // at least one group has no leader
)

// unreachable is the role of a replica whose node did not answer.
const unreachable = "unreachable"

// ReplicaReport is one group's replica on one node.
type ReplicaReport struct {
	Node    shard.NodeID `json:"node"`
	Role    string       `json:"role"`  // leader, follower, candidate; unreachable, or absent while it is being set up
	Voter   bool         `json:"voter"` // as the group's leader says; false while there is none
	Term    uint64       `json:"term"`
	First   uint64       `json:"first"`
	Last    uint64       `json:"last"`
	Commit  uint64       `json:"commit"`
	Applied uint64       `json:"applied"`
	Lag     uint64       `json:"lag"` // entries committed and not applied here
	Bytes   int64        `json:"bytes"`
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
	Leads     int          `json:"leads"`
	FreeBytes int64        `json:"free_bytes"`
	DiskFull  bool         `json:"disk_full"` // free space is below the reserve: appends are refused
	LogBytes  int64        `json:"log_bytes"`
	Error     string       `json:"error,omitempty"`
}

// GroupReport is one group over all its replicas.
type GroupReport struct {
	Group    shard.GroupID   `json:"group"`
	Slots    int             `json:"slots"`
	Leader   shard.NodeID    `json:"leader"` // "" while nobody leads
	Term     uint64          `json:"term"`
	Last     uint64          `json:"last"`
	Applied  uint64          `json:"applied"`
	Bytes    int64           `json:"bytes"` // of the largest replica
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

// answer is what one node said of itself, or why it said nothing.
type answer struct {
	status shard.NodeStatus
	err    error
}

// merge puts the map and the answers of the nodes together. wanted is the
// number of replicas that a group has once there are nodes enough.
func merge(m *shard.Map, from shard.NodeID, wanted int, answers map[shard.NodeID]answer) ClusterReport {
	out := ClusterReport{Cluster: m.Cluster, Epoch: m.Epoch, From: from, Health: Healthy, Reasons: []string{}}
	slots := make([]int, len(m.Groups))
	for s := range shard.Slots {
		slots[m.GroupOf(shard.Slot(s))]++
	}
	for i := range m.Groups {
		out.Groups = append(out.Groups, groupReport(&m.Groups[i], slots[i], answers))
	}
	for i := range m.Nodes {
		n := nodeReport(&m.Nodes[i], answers[m.Nodes[i].ID])
		for _, g := range out.Groups {
			if g.Leader == n.Node {
				n.Leads++
			}
		}
		if !n.Reachable {
			out.worsen(Degraded, "node %s does not answer", n.Node)
		}
		if n.DiskFull {
			out.worsen(Degraded, "node %s has less free space than its reserve: groups that it leads take no appends (disk_full)", n.Node)
		}
		out.Nodes = append(out.Nodes, n)
	}
	for i := range out.Groups {
		out.judge(&out.Groups[i], wanted)
	}
	return out
}

// aim is how many copies the placement gives a group, and how many of them vote.
// Two voters are worse than one, so that it goes from odd to odd; the copy that
// does not vote for that reason is no fault.
func aim(g shard.GroupID, wanted, nodes int) (copies, voters int) {
	if g == shard.Meta {
		wanted = placement.DefaultRules().MetaVoters
	}
	copies = min(wanted, nodes)
	voters = copies
	if voters%2 == 0 {
		voters--
	}
	if g == shard.Meta && copies > 2 {
		copies = voters
	}
	return copies, voters
}

func (r *ClusterReport) judge(g *GroupReport, wanted int) {
	copies, voters := aim(g.Group, wanted, len(r.Nodes))
	reached := 0
	var waiting []ReplicaReport
	for _, p := range g.Replicas {
		switch {
		case !p.Voter:
			waiting = append(waiting, p)
		case p.Role != unreachable && p.Role != absent:
			reached++
		}
	}
	switch {
	case g.Leader == "":
		r.worsen(Down, "group %d has no leader", g.Group)
	case reached < voters:
		r.worsen(Degraded, "group %d has %d of %d voting replicas", g.Group, reached, voters)
	case len(waiting) > copies-voters:
		for _, p := range waiting {
			r.worsen(Degraded, "the replica of group %d on node %s has no vote yet", g.Group, p.Node)
		}
	}
}

func (r *ClusterReport) worsen(to Health, format string, args ...any) {
	if r.Health == Healthy || to == Down {
		r.Health = to
	}
	r.Reasons = append(r.Reasons, fmt.Sprintf(format, args...))
}

// absent is the role of a replica that its node has not set up yet.
const absent = "absent"

func nodeReport(n *shard.Node, a answer) NodeReport {
	out := NodeReport{Node: n.ID, Client: n.Client, Peer: n.Peer, Zone: n.Zone, State: "active"}
	if n.State == shard.Leaving {
		out.State = "leaving"
	}
	if a.err != nil {
		out.Error = a.err.Error()
		return out
	}
	s := a.status
	out.Reachable = s.Node == n.ID
	out.Version, out.UptimeMS, out.FreeBytes, out.DiskFull, out.LogBytes = s.Version, s.UptimeMS, s.FreeBytes, s.DiskFull, s.LogBytes
	out.Replicas = len(s.Groups)
	return out
}

func groupReport(g *shard.Group, slots int, answers map[shard.NodeID]answer) GroupReport {
	out := GroupReport{Group: g.ID, Slots: slots, Replicas: []ReplicaReport{}}
	var commit uint64
	var voters []shard.NodeID
	for _, id := range g.Replicas {
		a := answers[id]
		r := ReplicaReport{Node: id, Role: unreachable}
		if a.err == nil && a.status.Node == id {
			r.Role = absent
		}
		for i := range a.status.Groups {
			s := &a.status.Groups[i]
			if s.Group != g.ID {
				continue
			}
			r = ReplicaReport{Node: id, Role: s.State, Term: s.Term, First: s.First, Last: s.Last, Commit: s.Commit, Applied: s.Applied, Bytes: s.Bytes}
			// Of two that say they lead, the one of the later term does. It goes on
			// serving while its members change.
			if (s.Leads || s.Changing) && s.Term >= out.Term {
				out.Leader, out.Term, out.Last, out.Applied, voters = id, s.Term, s.Last, s.Applied, s.Voters
			}
		}
		commit, out.Bytes = max(commit, r.Commit), max(out.Bytes, r.Bytes)
		out.Replicas = append(out.Replicas, r)
	}
	for i := range out.Replicas {
		r := &out.Replicas[i]
		r.Voter = slices.Contains(voters, r.Node)
		if r.Role != unreachable && commit > r.Applied {
			r.Lag = commit - r.Applied
		}
	}
	slices.SortFunc(out.Replicas, func(a, b ReplicaReport) int { return cmp.Compare(a.Node, b.Node) })
	return out
}
