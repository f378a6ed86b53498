package node

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/node/peer"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
)

// How a joining node asks.
const (
	joinPauseLeast = 100 * time.Millisecond
	joinPauseMost  = 2 * time.Second
	foundTimeout   = 30 * time.Second
)

// belong finds out which cluster this node is part of. A directory that has an
// identity keeps it; an empty one becomes the founder of a new cluster or joins
// one. It gives the newest map that is known, and what is left to found.
func (n *Node) belong(ctx context.Context, conf *tls.Config) (*shard.Map, *pending, error) {
	id, known := n.dir.Identity()
	if known && id.Node != n.self {
		return nil, nil, chat.E("start", chat.WrongClust, fmt.Sprintf(
			"the data directory %s belongs to node %q and this is node %q: give --node-id %s, or another directory", n.dir.Path(), id.Node, n.self, id.Node), nil)
	}
	p, unfinished, err := readPending(n.dir.Path())
	if err != nil {
		return nil, nil, err
	}
	switch {
	case unfinished && len(n.how.JoinPeers) > 0:
		// It would become a cluster beside the one that it shall join.
		return nil, nil, chat.E("join", chat.WrongClust, fmt.Sprintf(
			"in the data directory %s a cluster of its own was begun: complete it with chatnode start, or join with an empty directory", n.dir.Path()), nil)
	case unfinished:
		n.drew(p)
		return nil, &p, n.dir.Claim(p.Cluster, n.self)
	case known:
		m, err := readMapFile(n.dir.Path())
		if err == nil {
			err = n.sameCluster(ctx, id.Cluster, conf)
		}
		return m, nil, err
	case n.how.Bootstrap:
		p, err := n.planCluster()
		if err != nil {
			return nil, nil, err
		}
		return nil, &p, n.dir.Claim(p.Cluster, n.self)
	case len(n.how.JoinPeers) > 0:
		m, err := n.join(ctx, conf)
		return m, nil, err
	}
	return nil, nil, chat.E("start", chat.Invalid, fmt.Sprintf(
		"the data directory %s is empty: make a new cluster with --bootstrap, or join one with chatnode join --peer HOST:PORT", n.dir.Path()), nil)
}

// planCluster decides the new cluster's id and token and writes them down.
func (n *Node) planCluster() (pending, error) {
	token, err := n.cfg.Cluster.joinToken()
	if err != nil {
		return pending{}, err
	}
	given := token != ""
	if !given {
		token = randomHex(JoinTokenMin)
	} else if len(token) < JoinTokenMin {
		return pending{}, fmt.Errorf("cluster.join_token: %d bytes, want at least %d random ones", len(token), JoinTokenMin)
	}
	p := pending{Cluster: "c-" + randomHex(8), Groups: n.cfg.Cluster.Groups, Token: token, Given: given}
	n.drew(p)
	return p, writePending(n.dir.Path(), p)
}

// drew keeps the token to be shown, unless the operator gave it: output is kept in
// places where a secret has no business.
func (n *Node) drew(p pending) {
	if !p.Given {
		n.token = p.Token
	}
}

// join asks the peers in turn until one lets this node in, and claims the
// directory for their cluster.
func (n *Node) join(ctx context.Context, conf *tls.Config) (*shard.Map, error) {
	token, err := n.cfg.Cluster.joinToken()
	if err != nil {
		return nil, err
	}
	if token == "" {
		return nil, errors.New("cluster.join_token: a node joins with the token that chatnode start --bootstrap printed: give --join-token-file, or CHATNODE_CLUSTER_JOIN_TOKEN")
	}
	own, err := n.record()
	if err != nil {
		return nil, err
	}
	m, err := n.askPeers(ctx, dialer(conf, peer.ALPN), peer.Join{Token: token, Node: own})
	if err != nil {
		return nil, err
	}
	// The map first: a directory with an identity must be able to find the
	// others again.
	if err := writeNew(filepath.Join(n.dir.Path(), mapFile), m.Append(nil)); err != nil {
		return nil, err
	}
	return m, n.dir.Claim(m.Cluster, n.self)
}

// sameCluster refuses to go on when a peer that this start names belongs to
// another cluster than the directory. A peer that does not answer says nothing.
func (n *Node) sameCluster(ctx context.Context, cluster string, conf *tls.Config) error {
	own, err := n.record()
	if err != nil {
		return err
	}
	for _, addr := range n.how.JoinPeers {
		if addr == n.addrs.Peer {
			continue
		}
		one, cancel := context.WithTimeout(ctx, askTimeout)
		_, err := peer.JoinAt(one, dialer(conf, peer.ALPN), addr, cluster, peer.Join{Node: own})
		cancel()
		if chat.CodeOf(err) == chat.WrongClust {
			return chat.E("join", chat.WrongClust, fmt.Sprintf(
				"the data directory %s belongs to cluster %s and the node at %s to another one: give the right peer, or an empty directory", n.dir.Path(), cluster, addr), nil)
		}
	}
	return nil
}

func (n *Node) askPeers(ctx context.Context, dial peer.Dialer, j peer.Join) (*shard.Map, error) {
	ctx, cancel := context.WithTimeout(ctx, n.cfg.Cluster.JoinTimeout)
	defer cancel()
	pause := joinPauseLeast
	for {
		var last error
		for _, addr := range n.how.JoinPeers {
			m, err := peer.JoinAt(ctx, dial, addr, "", j)
			if err == nil {
				return m, nil
			}
			if final(err) {
				return nil, fmt.Errorf("join at %s: %w", addr, err)
			}
			last = fmt.Errorf("join at %s: %w", addr, err)
			n.log.Info("not joined yet", "peer", addr, "err", err)
		}
		wait := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			wait.Stop()
			return nil, fmt.Errorf("%w (given up after %v; are these peer addresses of a running cluster?)", last, n.cfg.Cluster.JoinTimeout)
		case <-wait.C:
		}
		pause = min(2*pause, joinPauseMost)
	}
}

// final reports whether asking again cannot help.
func final(err error) bool {
	return slices.Contains([]chat.Code{chat.BadToken, chat.WrongClust, chat.Invalid, chat.Exists, chat.Conflict, chat.Forbidden, chat.UnsupportedVer, chat.TooLarge},
		chat.CodeOf(err))
}

// record is this node as the map shall know it.
func (n *Node) record() (shard.Node, error) {
	inc, err := incarnation(n.dir.Path())
	return shard.Node{
		ID: n.self, Client: n.addrs.Client, Peer: n.addrs.Peer, Zone: n.cfg.Zone,
		State: shard.Active, Level: uint32(fsm.LevelMax), Incarnation: inc,
	}, err
}

// found makes the cluster that this node has planned: the meta group with this
// node alone, and its first command. Every step may have been done before a
// crash, or half of it, and is done again: a promise says that the group was
// begun, not that its first entry is there. The plan goes last, when the map is
// on disk, by which a later start knows what to run.
func (n *Node) found(ctx context.Context, p pending) error {
	ctx, cancel := context.WithTimeout(ctx, foundTimeout)
	defer cancel()
	if err := n.host.Bootstrap(shard.Meta, []raftgroup.Server{{ID: n.self, Voter: true}}); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	if err := n.host.Start(shard.Meta); err != nil {
		return fmt.Errorf("bootstrap: %w", err)
	}
	own, err := n.record()
	if err != nil {
		return err
	}
	res, err := n.router.ProposeMeta(ctx, meta.Bootstrap{
		Cluster: p.Cluster, Groups: uint32(p.Groups), Token: meta.HashToken(p.Token), Founder: own,
	})
	if err == nil && res.Code != chat.OK {
		err = chat.E("bootstrap", res.Code, res.Msg, nil)
	}
	if err != nil {
		return err
	}
	m := n.agent.readOwn()
	if m == nil {
		return errors.New("bootstrap: the meta group has no map after its first command")
	}
	if err := n.agent.adopt(m); err != nil {
		return err
	}
	n.agent.poke() // it starts the groups
	return removeDurably(filepath.Join(n.dir.Path(), pendingFile))
}
