package node

import (
	"context"
	"log/slog"
	"net"
	"runtime"
	"testing"

	"github.com/chatnode/chatnode/internal/obs"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// stored makes a node of a cluster that has a directory and stores, and nothing
// that runs.
func stored(t *testing.T, c Config) *Node {
	t.Helper()
	n := &Node{
		cfg: c, log: slog.New(slog.DiscardHandler), self: shard.NodeID(c.NodeID),
		failed: make(chan error, 1), metrics: obs.NewRegistry("test"),
	}
	t.Cleanup(func() {
		if err := n.stopParts(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	var err error
	if n.dir, err = store.OpenDir(c.DataDir); err != nil {
		t.Fatal(err)
	}
	n.run("directory", func(context.Context) error { return n.dir.Close() })
	if err := n.dir.Claim("c", n.self); err != nil {
		t.Fatal(err)
	}
	if err := n.openStores(); err != nil {
		t.Fatal(err)
	}
	return n
}

// opened makes one whose agent looks only when the test says so.
func opened(t *testing.T, c Config) *Node {
	t.Helper()
	n := stored(t, c)
	if _, err := n.openReplication(peerPort(t, n), nil); err != nil {
		t.Fatal(err)
	}
	return n
}

func peerPort(t *testing.T, n *Node) net.Listener {
	t.Helper()
	l, err := listen(t.Context(), "listen.peer", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n.addrs = Addresses{Client: "h:1", Peer: l.Addr().String()}
	return l
}

// mapOf is a map of the nodes n1 and n2 with one replica of each group.
func mapOf(t *testing.T, epoch uint64, replicas ...shard.NodeID) *shard.Map {
	t.Helper()
	m := shard.Map{Cluster: "c", Epoch: epoch, Nodes: []shard.Node{
		{ID: "n1", Client: "h:1", Peer: "h:2", State: shard.Active}, {ID: "n2", Client: "h:1", Peer: "h:2", State: shard.Active},
	}}
	for g, id := range replicas {
		m.Groups = append(m.Groups, shard.Group{ID: shard.GroupID(g), Epoch: 1, Replicas: []shard.NodeID{id}})
	}
	out, err := shard.New(m, shard.Spread(len(replicas)-1))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestAddressesAreAskedAtAnyTime asks, as a connection of the host that breaks
// does, while the node starts. The race detector judges.
func TestAddressesAreAskedAtAnyTime(t *testing.T) {
	n := stored(t, valid(t))
	l := peerPort(t, n)
	asked, known := make(chan struct{}), make(chan struct{})
	go func() {
		n.peerAddress("n2")
		close(asked)
		for n.peerAddress("n2") == "" {
			runtime.Gosched()
		}
		close(known)
	}()
	<-asked
	if err := n.startReplication(l, nil, mapOf(t, 7, "n2", "n2")); err != nil {
		t.Fatal(err)
	}
	<-known
}
