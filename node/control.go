package node

import (
	"context"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/node/peer"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
	"github.com/chatnode/chatnode/shard/router"
	"github.com/chatnode/chatnode/wire"
)

// control serves the unary calls of other nodes, and the own placement loop.
type control struct{ n *Node }

var _ peer.Control = (*control)(nil)

// Join implements [peer.Control]: the meta group decides whether the token
// holds and the node id may be used.
func (c *control) Join(ctx context.Context, j peer.Join) (*shard.Map, error) {
	if j.Token == "" {
		return nil, chat.E("join", chat.BadToken, "a node joins with the cluster's join token", nil)
	}
	res, err := c.n.router.ProposeMeta(ctx, meta.JoinNode{Token: meta.HashToken(j.Token), Node: j.Node})
	if err != nil {
		return nil, err
	}
	if res.Code != chat.OK {
		return nil, chat.E("join", res.Code, res.Msg, nil)
	}
	c.n.log.Info("node joined", "node", j.Node.ID, "peer", j.Node.Peer, "client", j.Node.Client)
	a, err := c.n.router.Read(ctx, &router.Request{Kind: router.ReadMap, Level: wire.Linearizable})
	return a.Map, err
}

// Map implements [peer.Control].
func (c *control) Map(context.Context) (*shard.Map, error) {
	if m := c.n.router.Map(); m != nil {
		return m, nil
	}
	return nil, chat.E("map", chat.Unavailable, "this node does not know the cluster yet", nil)
}

// Status implements [peer.Control].
func (c *control) Status(context.Context) (shard.NodeStatus, error) {
	n := c.n
	s := shard.NodeStatus{
		Node: n.self, Epoch: n.epoch(), Level: uint32(fsm.LevelMax), Groups: []shard.GroupStatus{},
		Version: n.how.Version, UptimeMS: time.Since(n.started).Milliseconds(), Ready: n.Ready(), Stopping: n.stopping.Load(),
		FreeBytes: int64(n.reserve.Free()), DiskFull: n.reserve.Full(), LogBytes: n.logs.Stats().Bytes,
	}
	for _, g := range n.host.Groups() {
		if st, ok := n.host.Status(g); ok {
			s.Groups = append(s.Groups, groupStatus(g, st, n.groupBytes(g)))
		}
	}
	return s, nil
}

// groupStatus is what others are told of a replica. Raft shows a configuration
// before it is committed. One that is lost again must not have moved the map: who is
// not in the map wipes its replica. So the placement goes by those that lead and are
// not changing.
func groupStatus(g shard.GroupID, st raftgroup.GroupStatus, bytes int64) shard.GroupStatus {
	one := shard.GroupStatus{
		Group: g, Leader: st.Leader, Leads: st.Ready && st.Settled, Changing: st.Ready && !st.Settled, Term: st.Term, State: st.State,
		First: st.First, Last: st.Last, Commit: st.Commit, Applied: st.Applied, Bytes: bytes,
	}
	for _, p := range st.Peers {
		if p.Voter {
			one.Voters = append(one.Voters, p.ID)
		} else {
			one.Nonvoters = append(one.Nonvoters, p.ID)
		}
	}
	return one
}

// groupBytes is the size of a group's state, about.
func (n *Node) groupBytes(g shard.GroupID) int64 {
	st, err := n.state.Group(g)
	if err != nil {
		return 0
	}
	return st.Bytes()
}

// Change implements [peer.Control].
func (c *control) Change(ctx context.Context, ch shard.Change) error {
	switch ch.Op {
	case shard.AddNonvoter:
		return c.n.host.AddNonvoter(ctx, ch.Group, ch.Node)
	case shard.Promote:
		return c.n.host.Promote(ctx, ch.Group, ch.Node)
	case shard.Remove:
		return c.n.host.RemoveServer(ctx, ch.Group, ch.Node)
	case shard.Transfer:
		return c.n.host.TransferLeadership(ctx, ch.Group, ch.Node)
	}
	return chat.E("change", chat.UnknownType, "this version does not know the change", nil)
}

// view is the node as the control routes see it.
type view struct {
	steering
}

// Map gives the newest map, nil while none is known.
func (v view) Map() *shard.Map { return v.n.router.Map() }

// Self is this node.
func (v view) Self() shard.NodeID { return v.n.self }

// Replicas is how many each group shall have.
func (v view) Replicas() int { return v.n.cfg.Cluster.Replicas }

// Transfer asks the group's leader to hand its leadership to another node.
func (v view) Transfer(ctx context.Context, g shard.GroupID, to shard.NodeID) error {
	leader, ok := v.n.router.GroupLeader(g)
	if !ok {
		return chat.E("transfer", chat.NotLeader, "nobody leads the group now", nil)
	}
	if leader == to {
		return v.leads(ctx, g, to)
	}
	return v.Change(ctx, leader, shard.Change{Group: g, Op: shard.Transfer, Node: to})
}

// leads asks a node whether it leads a group. What this node has heard last may have
// been of one that is dead by now.
func (v view) leads(ctx context.Context, g shard.GroupID, id shard.NodeID) error {
	s, err := v.Status(ctx, id)
	if err != nil {
		return chat.E("transfer", chat.Unavailable, "the node does not answer", err)
	}
	for i := range s.Groups {
		if st := &s.Groups[i]; st.Group == g && (st.Leads || st.Changing) {
			return nil
		}
	}
	return chat.E("transfer", chat.NotLeader, "nobody leads the group now", nil)
}

// Remove asks the replicas of a node, which may be dead, to leave it; the
// placement loop then takes the node out of the cluster.
func (v view) Remove(ctx context.Context, id shard.NodeID) error {
	res, err := v.ProposeMeta(ctx, meta.SetNodeState{ID: id, State: shard.Leaving})
	if err == nil && res.Code != chat.OK {
		err = chat.E("remove", res.Code, res.Msg, nil)
	}
	return err
}
