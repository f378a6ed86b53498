package node

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
	"github.com/chatnode/chatnode/shard/router"
	"github.com/chatnode/chatnode/ws"
)

// commitBuckets reach from a loopback round to a lost quorum.
var commitBuckets = []float64{.0005, .001, .002, .004, .008, .016, .032, .064, .128, .256, .512, 1, 2, 4, 8}

// raftMetrics are what the Raft host counts.
func (n *Node) raftMetrics() raftgroup.Metrics {
	counter := n.counter
	commands := counter("chatnode_proposed_commands_total", "Commands handed to Raft by groups that this node leads.")
	bytes := counter("chatnode_proposed_bytes_total", "Bytes of the entries that carried them.")
	entries := counter("chatnode_proposed_entries_total", "Raft entries that carried them.")
	refused := counter("chatnode_proposals_refused_total", "Proposals that met a full queue.")
	led := counter("chatnode_leaderships_won_total", "Terms in which this node began to lead a group.")
	lost := counter("chatnode_leaderships_lost_total", "Terms in which it ceased to.")
	reads := counter("chatnode_read_rounds_total", "Quorum rounds that confirmed reads.")
	readers := counter("chatnode_read_round_readers_total", "Reads that they confirmed.")
	cuts := counter("chatnode_log_cuts_total", "Times a group's log was cut.")
	installs := counter("chatnode_snapshots_installed_total", "Snapshots taken from a leader.")
	dead := counter("chatnode_peers_found_dead_total", "Times a peer's process was found to have ended.")
	commit := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "chatnode_commit_seconds", Help: "From handing an entry to Raft until it is durable on a quorum and applied.", Buckets: commitBuckets,
	})
	n.metrics.MustRegister(commit)
	return raftgroup.Metrics{
		Proposed: func(_ shard.GroupID, c, b int) {
			entries.Inc()
			commands.Add(float64(c))
			bytes.Add(float64(b))
		},
		Committed: func(_ shard.GroupID, _ int, took time.Duration) { commit.Observe(took.Seconds()) },
		Refused:   func(shard.GroupID) { refused.Inc() },
		Led:       func(shard.GroupID, uint64) { led.Inc() },
		Lost:      func(shard.GroupID) { lost.Inc() },
		ReadRound: func(_ shard.GroupID, n int, _ time.Duration, _ bool) {
			reads.Inc()
			readers.Add(float64(n))
		},
		Cut:       func(shard.GroupID, uint64) { cuts.Inc() },
		Installed: func(shard.GroupID, int64) { installs.Inc() },
		PeerDead:  func(shard.NodeID) { dead.Inc() },
	}
}

// routerMetrics are what the router counts.
func (n *Node) routerMetrics() router.Metrics {
	retried := n.counter("chatnode_route_retries_total", "Proposals that were sent again.")
	moved := n.counter("chatnode_route_moved_total", "Attempts that met a node that does not lead.")
	forwarded := n.counter("chatnode_route_forwarded_total", "Proposals that went to another node.")
	busy := n.counter("chatnode_route_busy_total", "Requests refused for their number or bytes.")
	expired := n.counter("chatnode_route_expired_total", "Proposals that met their deadline.")
	recovered := prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "chatnode_route_recovery_seconds", Help: "How long a group took no proposals.", Buckets: commitBuckets,
	})
	n.metrics.MustRegister(recovered)
	return router.Metrics{
		Retried: retried.Inc, Moved: moved.Inc, Forwarded: forwarded.Inc, Busy: busy.Inc, Expired: expired.Inc,
		Recovered: func(d time.Duration) { recovered.Observe(d.Seconds()) },
	}
}

// registerFront registers what is sampled when somebody looks.
func (n *Node) registerFront(socket *ws.Server) {
	n.gauge("chatnode_connections", "WebSocket connections.", func() float64 { return float64(socket.Len()) })
	n.gauge("chatnode_conversations_open", "Conversations that a connected client has open.", func() float64 { return float64(n.hub.Len()) })
	n.gauge("chatnode_groups_led", "Groups that this node leads.", func() float64 { return float64(len(n.host.Led())) })
	n.gauge("chatnode_proposals_in_flight", "Proposals in flight and waiting on this node.", func() float64 {
		proposals, _ := n.router.InFlight()
		return float64(proposals)
	})
	n.gauge("chatnode_disk_free_bytes", "Free space of the data directory's file system.", func() float64 { return float64(n.reserve.Free()) })
	n.gauge("chatnode_log_bytes", "Raft logs on disk.", func() float64 { return float64(n.logs.Stats().Bytes) })
	n.sampled("chatnode_log_syncs_total", "Syncs of the Raft logs.", func() float64 { return float64(n.logs.Stats().Syncs) })
	n.sampled("chatnode_log_sync_seconds_total", "Time spent in them.", func() float64 { return n.logs.Stats().SyncTime.Seconds() })
	n.sampled("chatnode_feed_dropped_total", "Entries left out of the live feed; subscribers read them from the log.", func() float64 { return float64(n.bus.Dropped()) })
	n.sampled("chatnode_socket_overflows_total", "Connections broken off because the transport dropped a frame.", func() float64 { return float64(socket.Overflows()) })
	n.gauge("chatnode_ready", "1 while the node is ready.", func() float64 {
		if n.Ready() {
			return 1
		}
		return 0
	})
}

func (n *Node) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	n.metrics.MustRegister(c)
	return c
}

func (n *Node) gauge(name, help string, fn func() float64) {
	n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, fn))
}

func (n *Node) sampled(name, help string, fn func() float64) {
	n.metrics.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, fn))
}
