package node

import (
	"context"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/placement"
	"github.com/chatnode/chatnode/shard/router"
	"github.com/chatnode/chatnode/wire"
)

// startPlacement starts the loop that moves replicas and leaders; it acts on the
// node that leads the meta group.
func (n *Node) startPlacement() error {
	cfg := placement.DefaultConfig()
	cfg.Rules.Replicas = n.cfg.Cluster.Replicas
	loop, err := placement.New(cfg, steering{&control{n}}, n.log)
	if err != nil {
		return err
	}
	n.agent.changed(loop.Kick)
	n.background("placement", loop.Run)
	return nil
}

// steering is the cluster as the placement loop acts on it.
type steering struct {
	*control
}

var _ placement.Cluster = steering{}

// LeadsMeta implements [placement.Cluster].
func (s steering) LeadsMeta() bool { return s.n.host.IsLeader(shard.Meta) }

// Map implements [placement.Cluster].
func (s steering) Map(ctx context.Context) (*shard.Map, error) {
	a, err := s.n.router.Read(ctx, &router.Request{Kind: router.ReadMap, Level: wire.Linearizable})
	return a.Map, err
}

// ProposeMeta implements [placement.Cluster].
func (s steering) ProposeMeta(ctx context.Context, cmd meta.Command) (fsm.Result, error) {
	return s.n.router.ProposeMeta(ctx, cmd)
}

// Status implements [placement.Cluster].
func (s steering) Status(ctx context.Context, of shard.NodeID) (shard.NodeStatus, error) {
	if of == s.n.self {
		return s.control.Status(ctx)
	}
	return s.n.pool.Status(ctx, of)
}

// Change implements [placement.Cluster].
func (s steering) Change(ctx context.Context, leader shard.NodeID, c shard.Change) error {
	if leader == s.n.self {
		return s.control.Change(ctx, c)
	}
	return s.n.pool.Change(ctx, leader, c)
}
