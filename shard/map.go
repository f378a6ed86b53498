package shard

import (
	"errors"
	"fmt"
	"slices"
)

// NodeState is what the cluster wants of a node.
type NodeState uint8

// The states of a node.
const (
	Active  NodeState = 1 // may hold replicas and lead
	Leaving NodeState = 2 // its replicas move away; it is removed when it has none
)

// Node is one member of the cluster.
type Node struct {
	ID          NodeID
	Client      string // host:port for clients
	Peer        string // host:port for Raft and for other nodes
	Zone        string // failure domain; "" is a zone of its own kind
	State       NodeState
	Level       uint32   // the highest level of commands that its binary can read
	Incarnation [16]byte // of its directory; tells a retried join from a wiped disk
}

// Group is one Raft group and the nodes that run it. Replicas says which nodes
// hold a copy; who votes is in the configuration of the group itself.
type Group struct {
	ID       GroupID
	Epoch    uint64 // 1 at bootstrap, then one more with every change of Replicas
	Replicas []NodeID
}

// Has reports whether node holds a replica.
func (g *Group) Has(node NodeID) bool { return slices.Contains(g.Replicas, node) }

// Map is a snapshot of the placement. Nobody changes it once it is made; take
// the slices as read-only.
type Map struct {
	Cluster string
	Epoch   uint64 // grows with every change
	Level   uint32 // commands up to this level may be proposed
	Groups  []Group
	Nodes   []Node
	slots   [Slots]GroupID
}

// Spread assigns all slots evenly to conversation groups 1 … groups, each a
// contiguous range.
func Spread(groups int) []GroupID {
	slots := make([]GroupID, Slots)
	for i := range slots {
		slots[i] = GroupID(i*groups/Slots) + 1
	}
	return slots
}

// New makes a map and checks its invariants. It keeps the slices of m and
// copies slots.
func New(m Map, slots []GroupID) (*Map, error) {
	if len(slots) != Slots {
		return nil, fmt.Errorf("%w: %d slots, want %d", errMap, len(slots), Slots)
	}
	copy(m.slots[:], slots)
	if err := m.check(); err != nil {
		return nil, err
	}
	return &m, nil
}

var errMap = errors.New("malformed placement map")

func (m *Map) check() error {
	if !ValidCluster(m.Cluster) {
		return fmt.Errorf("%w: cluster id", errMap)
	}
	if len(m.Groups) < 2 || len(m.Groups) > GroupsMax+1 || len(m.Nodes) > NodesMax {
		return fmt.Errorf("%w: %d groups, %d nodes", errMap, len(m.Groups), len(m.Nodes))
	}
	for i := range m.Nodes {
		if err := m.Nodes[i].Check(); err != nil {
			return err
		}
		if i > 0 && m.Nodes[i-1].ID >= m.Nodes[i].ID {
			return fmt.Errorf("%w: nodes are not in order", errMap)
		}
	}
	for i := range m.Groups {
		if err := m.checkGroup(i); err != nil {
			return err
		}
	}
	for s, g := range m.slots {
		if g == Meta || int(g) >= len(m.Groups) {
			return fmt.Errorf("%w: slot %d in group %d", errMap, s, g)
		}
	}
	return nil
}

func (m *Map) checkGroup(i int) error {
	g := &m.Groups[i]
	if g.ID != GroupID(i) || len(g.Replicas) > ReplicasMax {
		return fmt.Errorf("%w: group %d at place %d with %d replicas", errMap, g.ID, i, len(g.Replicas))
	}
	for j, id := range g.Replicas {
		if slices.Contains(g.Replicas[:j], id) {
			return fmt.Errorf("%w: group %d has node %q twice", errMap, i, id)
		}
		if _, ok := m.Node(id); !ok {
			return fmt.Errorf("%w: group %d has unknown node %q", errMap, i, id)
		}
	}
	return nil
}

// Check reports the first malformed field of a node.
func (n *Node) Check() error {
	switch {
	case !ValidNodeID(n.ID):
		return fmt.Errorf("%w: node id", errMap)
	case n.Client == "" || !Printable(n.Client, AddrBytesMax):
		return fmt.Errorf("%w: client address of node %q", errMap, n.ID)
	case n.Peer == "" || !Printable(n.Peer, AddrBytesMax):
		return fmt.Errorf("%w: peer address of node %q", errMap, n.ID)
	case !Printable(n.Zone, ZoneBytesMax):
		return fmt.Errorf("%w: zone of node %q", errMap, n.ID)
	case n.State != Active && n.State != Leaving:
		return fmt.Errorf("%w: state of node %q", errMap, n.ID)
	}
	return nil
}

// GroupOf is the group of a slot.
func (m *Map) GroupOf(s Slot) GroupID { return m.slots[s%Slots] }

// GroupOfKey is the group of a key.
func (m *Map) GroupOfKey(key string) GroupID { return m.slots[SlotOf(key)] }

// SlotTable returns a copy of the group of every slot.
func (m *Map) SlotTable() []GroupID { return slices.Clone(m.slots[:]) }

// Group is the group of that id.
func (m *Map) Group(id GroupID) (*Group, bool) {
	if int64(id) >= int64(len(m.Groups)) {
		return nil, false
	}
	return &m.Groups[id], true
}

// Node is the node of that id.
func (m *Map) Node(id NodeID) (*Node, bool) {
	i, ok := slices.BinarySearchFunc(m.Nodes, id, func(n Node, id NodeID) int {
		switch {
		case n.ID < id:
			return -1
		case n.ID > id:
			return 1
		}
		return 0
	})
	if !ok {
		return nil, false
	}
	return &m.Nodes[i], true
}

// Peer is the peer address of a node, "" for an unknown one.
func (m *Map) Peer(id NodeID) string {
	if n, ok := m.Node(id); ok {
		return n.Peer
	}
	return ""
}
