package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/chatnode/chatnode/auth"
	"github.com/chatnode/chatnode/fanout"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/internal/obs"
	"github.com/chatnode/chatnode/node/peer"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
	"github.com/chatnode/chatnode/shard/router"
	"github.com/chatnode/chatnode/store"
)

// Start says how a node begins.
type Start struct {
	Bootstrap bool     // make a cluster when the directory is empty
	JoinPeers []string // join the cluster of one of these when it is empty
	Dev       bool     // make a secret where there is none
	Version   string
}

// Node is a running node.
type Node struct {
	cfg     Config
	how     Start
	log     *slog.Logger
	self    shard.NodeID
	started time.Time
	failed  chan error
	free    func(dir string) (uint64, error) // bytes of a file system
	once    sync.Once                        // of the first fatal error

	parts []part // in the order of their start

	addrs      Addresses
	secretFile string
	token      string // the join token, when this start made the cluster and drew it
	verifier   *auth.Verifier
	metrics    *prometheus.Registry

	dir     *store.Dir
	logs    store.Log
	state   *store.State
	reserve *store.Reserve
	host    *raftgroup.Host
	pool    *peer.Pool
	router  *router.Router
	bus     *fanout.Bus
	hub     *fanout.Hub
	agent   *agent
	known   atomic.Pointer[shard.Map] // the newest map
	front   *front

	ready    atomic.Bool   // it has been able to serve
	serving  chan struct{} // closed when ready is set
	stopping atomic.Bool
}

// part is something that runs and has to be stopped.
type part struct {
	name string
	stop func(ctx context.Context) error
}

// started books a part that runs now; it is stopped before all that were booked
// earlier.
func (n *Node) run(name string, stop func(ctx context.Context) error) {
	n.parts = append(n.parts, part{name, stop})
}

// New starts a node and returns when it serves. A start that fails leaves
// nothing running.
func New(ctx context.Context, cfg Config, how Start, log *slog.Logger) (*Node, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	n := &Node{
		cfg: cfg, how: how, log: log, self: shard.NodeID(cfg.NodeID), started: time.Now(),
		failed: make(chan error, 1), serving: make(chan struct{}), free: store.FreeBytes, metrics: obs.NewRegistry(how.Version),
	}
	if err := n.start(ctx); err != nil {
		// What ran is stopped at once: nobody has used it.
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.StopAfter)
		defer cancel()
		return nil, errors.Join(err, n.stopParts(stopCtx))
	}
	return n, nil
}

// start is the order in which the parts come to life. Each may use what stands
// above it.
func (n *Node) start(ctx context.Context) error {
	secret, file, err := secretFor(n.cfg, n.how.Dev)
	if err != nil {
		return err
	}
	n.secretFile = file
	scheme, err := auth.NewHS256([]byte(secret), n.cfg.Auth.Audience)
	if err != nil {
		return err
	}
	n.verifier = auth.NewVerifier(scheme, time.Now)
	peerTLS, err := n.cfg.TLS.peerTLS()
	if err != nil {
		return err
	}
	clientTLS, err := n.cfg.TLS.clientTLS()
	if err != nil {
		return err
	}

	// Ports and the directory's lock come first: what is wrong with them is
	// found before anything is written.
	bound, err := bind(ctx, n.cfg.Listen)
	if err != nil {
		return err
	}
	n.run("ports", func(context.Context) error { return bound.close() })
	n.addrs = bound.addresses(n.cfg)
	if n.dir, err = store.OpenDir(n.cfg.DataDir); err != nil {
		return err
	}
	n.run("directory", func(context.Context) error { return n.dir.Close() })

	if err := errors.Join(n.hasRoom(), n.sameStorage()); err != nil {
		return err
	}
	m, founder, err := n.belong(ctx, peerTLS)
	if err != nil {
		return err
	}
	if err := n.openStores(); err != nil {
		return err
	}
	if err := n.startReplication(bound.peer, peerTLS, m); err != nil {
		return err
	}
	if founder != nil {
		if err := n.found(ctx, *founder); err != nil {
			return err
		}
	}
	if err := n.startPlacement(); err != nil {
		return err
	}
	if err := n.startFront(ctx, bound, clientTLS); err != nil {
		return err
	}
	if err := n.writeRunFile(); err != nil {
		return err
	}
	if err := n.awaitService(ctx); err != nil {
		return err
	}
	n.log.Info("node started", "ready", n.Ready(), "node", n.self, "cluster", n.cluster(), "client", n.addrs.Client, "peer", n.addrs.Peer,
		"data_dir", n.cfg.DataDir, "took", time.Since(n.started).Round(time.Millisecond))
	return nil
}

// fatal ends the node: whoever runs it is told the reason.
func (n *Node) fatal(err error) {
	n.once.Do(func() { n.failed <- err })
}

// Failed gives the error that the node cannot go on after.
func (n *Node) Failed() <-chan error { return n.failed }

// Ready reports whether the node serves: it has known a leader of every group, is
// not cut off from all, and does not stop.
func (n *Node) Ready() bool { return n.ready.Load() && !n.stopping.Load() && n.reaches() }

// Serving is closed when the node is ready for the first time.
func (n *Node) Serving() <-chan struct{} { return n.serving }

func (n *Node) becomeReady() {
	n.ready.Store(true)
	close(n.serving)
}

// Addresses are where the node is reached.
func (n *Node) Addresses() Addresses { return n.addrs }

// DataDir is where the node keeps everything.
func (n *Node) DataDir() string { return n.dir.Path() }

// SecretFile holds the secret that signs tokens, "" when it came otherwise.
func (n *Node) SecretFile() string { return n.secretFile }

// JoinToken is the token that was drawn for the cluster that this start made, else
// "".
func (n *Node) JoinToken() string { return n.token }

func (n *Node) cluster() string {
	id, _ := n.dir.Identity()
	return id.Cluster
}

// Stop ends the node gracefully: it stops being ready, which tells the placement to
// spare it, gives its leaderships away while it still serves, drains its clients,
// and stops its parts in the reverse order of their start.
func (n *Node) Stop(ctx context.Context) error {
	n.stopping.Store(true)
	if n.front != nil {
		n.front.draining()
	}
	if n.host != nil {
		n.giveUp(ctx)
	}
	return n.stopParts(ctx)
}

func (n *Node) stopParts(ctx context.Context) error {
	var errs []error
	for _, p := range slices.Backward(n.parts) {
		begin := time.Now()
		if err := p.stop(ctx); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, err))
		}
		n.log.Debug("stopped", "part", p.name, "took", time.Since(begin).Round(time.Millisecond))
	}
	n.parts = nil
	return errors.Join(errs...)
}

// guarded is the Raft host as the router may use it: below the disk's reserve
// nothing new is proposed.
type guarded struct {
	*raftgroup.Host
	full func() bool
}

// Propose refuses with disk_full while the disk is below its reserve. The meta
// group goes on: it is small, and it is what moves replicas away.
func (h guarded) Propose(g shard.GroupID, cmd []byte, done func(fsm.Result, error)) {
	if h.full() && g != shard.Meta {
		done(fsm.Result{}, errDiskFull)
		return
	}
	h.Host.Propose(g, cmd, done)
}
