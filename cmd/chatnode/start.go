package main

import (
	"context"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"

	"github.com/chatnode/chatnode/internal/config"
	"github.com/chatnode/chatnode/internal/obs"
	"github.com/chatnode/chatnode/node"
)

func (a *app) startCommand() *cobra.Command {
	var bootstrap bool
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run a node: the first of a new cluster, or one that is a member already",
		Long: `start runs a node on its data directory. With --bootstrap and an empty directory it makes
a new cluster of one node and prints the join token for the others (chatnode join). A
directory that already belongs to a cluster is started as it is, so the same line may be
used for every start.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, loaded, err := a.loadNode(cmd)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), cfg, loaded, node.Start{Bootstrap: bootstrap})
		},
	}
	cmd.Flags().BoolVar(&bootstrap, "bootstrap", false, "make a new cluster when the data directory is empty")
	nodeFlags(cmd.Flags(), node.Default())
	return cmd
}

func (a *app) joinCommand() *cobra.Command {
	var peers []string
	cmd := &cobra.Command{
		Use:   "join --peer HOST:PORT",
		Short: "Run a node that joins a cluster",
		Long: `join makes this node a member of the cluster that a peer belongs to, and runs it. It needs
the cluster's join token (printed by chatnode start --bootstrap) in a file or in
CHATNODE_CLUSTER_JOIN_TOKEN. A directory that has joined already is started as it is.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(peers) == 0 {
				return usageError("join: say whom to join: --peer HOST:PORT")
			}
			cfg, loaded, err := a.loadNode(cmd)
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), cfg, loaded, node.Start{JoinPeers: peers})
		},
	}
	cmd.Flags().StringSliceVar(&peers, "peer", nil, "peer address of a member; repeat it, or separate several by commas")
	nodeFlags(cmd.Flags(), node.Default())
	return cmd
}

func (a *app) devCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run one node to try things: no set-up, everything on",
		Long: `dev runs a cluster of one node, with the same code as a real one. Without --data-dir the
data is in a new temporary directory. Without a secret it makes one and keeps it in the data
directory; no other command starts a node without a secret.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, loaded, err := a.loadNode(cmd)
			if err != nil {
				return err
			}
			if cfg.DataDir == "" {
				if cfg.DataDir, err = tempDir(); err != nil {
					return err
				}
			}
			return a.serve(cmd.Context(), cfg, loaded, node.Start{Bootstrap: true, Dev: true})
		},
	}
	def := node.Default()
	def.NodeID = "dev"
	def.Cluster.Replicas = 1
	def.Log.Level = "warn"
	nodeFlags(cmd.Flags(), def)
	return cmd
}

// serve runs a node until the context ends or the node fails.
func (a *app) serve(ctx context.Context, cfg node.Config, loaded config.Loaded, how node.Start) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	log, err := obs.NewLogger(a.stderr, cfg.Log)
	if err != nil {
		return err
	}
	for _, w := range loaded.Warnings {
		log.Warn("setting ignored", "reason", w)
	}
	applyMemory(log, cfg.Memory)
	how.Version = buildOf().Version
	n, err := node.New(ctx, cfg, how, log)
	if err != nil {
		return err
	}
	a.announce(n, how)
	limit := cfg.StopAfter
	failed := a.untilEnd(ctx, n)
	if failed == nil {
		log.Info("stopping", "limit", limit)
	} else {
		log.Error("the node cannot go on", "err", failed)
		limit = min(limit, stopFailed)
	}
	if err := stopWithin(context.WithoutCancel(ctx), n, limit); err != nil && failed == nil {
		return fmt.Errorf("stop: %w", err)
	}
	return failed
}

// How long a stop may take beyond its limit: a disk that hangs must not keep a
// process that has to end.
const (
	stopFailed = 3 * time.Second // of a node that cannot go on
	stopGrace  = 2 * time.Second
)

func stopWithin(ctx context.Context, n *node.Node, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- n.Stop(ctx) }()
	late := time.NewTimer(limit + stopGrace)
	defer late.Stop()
	select {
	case err := <-stopped:
		return err
	case <-late.C:
		return fmt.Errorf("not within %v; ended all the same", limit+stopGrace)
	}
}

func applyMemory(log *slog.Logger, m node.Memory) {
	debug.SetGCPercent(m.GCPercent)
	if m.LimitBytes > 0 {
		debug.SetMemoryLimit(m.LimitBytes)
	}
	log.Debug("memory", "limit_bytes", m.LimitBytes, "gc_percent", m.GCPercent)
}

// announce prints what a person or a script needs to use the node.
func (a *app) announce(n *node.Node, how node.Start) {
	at := n.Addresses()
	if token := n.JoinToken(); token != "" && !how.Dev {
		fmt.Fprintf(a.stdout, "join token (shown once; other nodes need it): %s\n", token)
	}
	if how.Dev {
		fmt.Fprintf(a.stdout, `chatnode dev: one node, replication 1, a secret of its own. Not for production.
  data     %s
  HTTP     %s/v1
  socket   %s/v1/ws (subprotocol chatnode.v1.json)
  token    chatnode token ann --auth-secret-file %s
`, n.DataDir(), at.ClientURL(), at.SocketURL(), n.SecretFile())
	}
}

// serving is a node as untilEnd looks at it.
type serving interface {
	Addresses() node.Addresses
	Serving() <-chan struct{}
	Failed() <-chan error
}

// untilEnd waits until the context ends or the node fails, and gives the error of
// the latter. It prints the line that says that the node serves, however late that
// is: scripts wait for it.
func (a *app) untilEnd(ctx context.Context, n serving) error {
	say := func(word string) {
		at := n.Addresses()
		fmt.Fprintf(a.stdout, "%s client=%s peer=%s\n", word, at.Client, at.Peer)
	}
	ready := n.Serving()
	select {
	case <-ready:
	default:
		say("started, and waits for a quorum:")
	}
	for {
		select {
		case <-ready:
			say("ready")
			ready = nil // once
		case <-ctx.Done():
			return nil
		case err := <-n.Failed():
			return err
		}
	}
}
