package node

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/conv"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/node/peer"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
	"github.com/chatnode/chatnode/shard/router"
)

// startReplication starts what brings commands to logs and reads to replicas:
// the Raft host, the connections to other nodes, the router between them, and
// the agent that runs the groups of the map.
func (n *Node) startReplication(listener net.Listener, conf *tls.Config, m *shard.Map) error {
	rpc, err := n.openReplication(listener, conf)
	if err != nil {
		return err
	}
	return n.serveAndFollow(rpc, m)
}

// openReplication makes the parts, before any group runs and before other nodes
// are let in by rpc.
func (n *Node) openReplication(listener net.Listener, conf *tls.Config) (rpc net.Listener, err error) {
	own, err := n.record()
	if err != nil {
		return nil, err
	}
	split, raft := peer.Split(listener, peer.DefaultConfig(), conf)
	n.run("peer port", func(context.Context) error { split.Close(); raft.Close(); return nil }) // rpc is nil after a failure

	a := &agent{
		self: n.self, dir: n.dir, known: &n.known, log: n.log, fatal: n.fatal, wake: make(chan struct{}, 1), failed: make(map[shard.GroupID]string),
		own: func() shard.Node { return own },
	}
	n.agent = a
	if err := n.openHost(raft, conf); err != nil {
		return nil, err
	}
	n.pool, err = peer.NewPool(peer.DefaultConfig(), peer.PoolDeps{Identity: n.identity(), Dial: dialer(conf, peer.ALPN), Heard: a.heard, Logger: n.log})
	if err != nil {
		return nil, err
	}
	n.run("peer connections", func(context.Context) error { n.pool.Close(); return nil })
	n.router, err = router.New(router.DefaultConfig(), router.Deps{
		Self: n.self, Local: router.LocalOf(guarded{n.host, n.reserve.Full}), Remote: n.pool, Logger: n.log, Metrics: n.routerMetrics(),
	})
	if err != nil {
		return nil, err
	}
	n.run("router", func(context.Context) error { n.router.Close(); return nil })
	a.host, a.router, a.pool = n.host, n.router, n.pool

	n.bus = fanout.NewBus(func(id chat.ConvID) bool {
		g, err := n.router.GroupOf(string(id))
		return err == nil && n.host.IsLeader(g)
	})
	n.run("fan-out bus", func(context.Context) error { n.bus.Close(); return nil })
	n.host.SetSink(func(g shard.GroupID) fsm.Sink {
		if g == shard.Meta {
			return nil
		}
		return n.bus
	})
	unwatch := n.host.Watch(n.leaderChanged)
	n.run("leader watch", func(context.Context) error { unwatch(); return nil })
	return split, nil
}

func (n *Node) identity() peer.Identity {
	return peer.Identity{Self: n.self, Cluster: n.cluster, Epoch: n.epoch}
}

// openHost opens the Raft host; its groups are started by the agent.
func (n *Node) openHost(listener net.Listener, conf *tls.Config) error {
	cfg := raftgroup.DefaultConfig()
	cfg.Heartbeat = n.cfg.Raft.ElectionTimeout
	// Idle heartbeats wait for company: a node without load wakes up less
	// often, and a leader is still heard of several times per timeout.
	if n.cfg.Storage.Log == "bolt" {
		cfg.BoltDir, cfg.BoltAll = n.dir.Join(boltDir), true
	}
	var err error
	n.host, err = raftgroup.Open(cfg, raftgroup.Deps{
		Cluster: n.cluster(), NodeID: n.self, Logs: n.logs, State: n.state, Machine: n.machine,
		Listener: listener, Dial: dialer(conf, peer.ALPNRaft), Addresses: n.peerAddress,
		Promises: n.dir, Fatal: n.fatal, Logger: n.log, Metrics: n.raftMetrics(),
	})
	if err != nil {
		return err
	}
	n.run("raft", func(context.Context) error { return n.host.Close() })
	return nil
}

// machine makes the state machine of a group.
func (n *Node) machine(g shard.GroupID) fsm.Machine {
	if g == shard.Meta {
		return &watchedMeta{Machine: meta.New(), applied: n.agent.metaApplied}
	}
	return conv.New(uint32(g), nil)
}

// serveAndFollow lets other nodes in and begins to follow the map.
func (n *Node) serveAndFollow(rpc net.Listener, m *shard.Map) error {
	server, err := peer.NewServer(peer.DefaultConfig(), peer.ServerDeps{Identity: n.identity(), Backend: n.router, Feed: n.bus, Control: &control{n}, Logger: n.log})
	if err != nil {
		return err
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := server.Serve(rpc); err != nil {
			n.log.Debug("peer port closed", "err", err)
		}
	}()
	n.run("peer server", func(context.Context) error { server.Close(); <-served; return nil })
	if err := n.resume(m); err != nil {
		return err
	}
	n.background("agent", n.agent.run)
	n.agent.poke()
	return nil
}

// resume starts the replicas of a node that has been a member, before anything
// else may depend on them. Without a map, after a first start that was cut or when
// the file is lost, it starts its replica of the meta group, which has the map in
// it. A promise tells of one: every replica leaves it when it starts, and it is the
// first thing that goes when the replica is taken away.
func (n *Node) resume(m *shard.Map) error {
	if m != nil {
		if err := n.agent.adopt(m); err != nil {
			return err
		}
		if err := n.agent.clear(m); err != nil {
			return err
		}
		n.agent.follow(m)
		return nil
	}
	if _, ok := n.dir.Promise(shard.Meta); !ok {
		return nil
	}
	if _, unfinished, err := readPending(n.dir.Path()); unfinished || err != nil {
		return err // the founder begins the group again where a crash has left it
	}
	n.log.Warn("no map of the cluster is on disk: it is taken from the replica of the meta group")
	return n.host.Start(shard.Meta)
}

func (n *Node) leaderChanged(c raftgroup.Change) {
	n.router.LeaderChanged(c.Group, c.Leader)
	if !c.Local {
		n.bus.Resign()
	}
	if c.Group == shard.Meta {
		n.agent.poke()
	}
}

// peerAddress is where a node's peer port is, by the newest map. The host asks
// on goroutines of its own, and is there before the router.
func (n *Node) peerAddress(id shard.NodeID) string {
	if m := n.known.Load(); m != nil {
		return m.Peer(id)
	}
	return ""
}

func (n *Node) epoch() uint64 {
	if m := n.router.Map(); m != nil {
		return m.Epoch
	}
	return 0
}

// giveUp hands every leadership to another replica while the node still
// serves, so that clients see a pause of one round and no election.
func (n *Node) giveUp(ctx context.Context) {
	begin := time.Now()
	handed := 0
	for _, g := range n.host.Led() {
		servers, err := n.host.Configuration(g)
		if err != nil || !slices.ContainsFunc(servers, func(s raftgroup.Server) bool { return s.Voter && s.ID != n.self }) {
			continue // nobody to hand it to
		}
		switch err := n.host.TransferLeadership(ctx, g, ""); {
		case err == nil:
			handed++
		case chat.CodeOf(err) != chat.NotLeader:
			n.log.Warn("leadership not handed over", "group", uint32(g), "err", err)
		}
	}
	if handed > 0 {
		n.log.Info("leaderships handed over", "groups", handed, "took", time.Since(begin).Round(time.Millisecond))
	}
}
