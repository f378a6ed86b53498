package node

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatnode/chatnode/internal/obs"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
	"github.com/chatnode/chatnode/store"
)

// bare makes a node of a cluster that has a directory, and nothing in it.
func bare(t *testing.T, c Config) *Node {
	t.Helper()
	n := &Node{
		cfg: c, log: slog.New(slog.DiscardHandler), self: shard.NodeID(c.NodeID),
		failed: make(chan error, 1), serving: make(chan struct{}), free: store.FreeBytes, metrics: obs.NewRegistry("test"),
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
	return n
}

// stored makes one that has stores, too, and nothing that runs.
func stored(t *testing.T, c Config) *Node {
	t.Helper()
	n := bare(t, c)
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
	n.agent.own = func() shard.Node { return shard.Node{} } // nothing to announce
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

// TestRemovedMetaReplicaIsNotWaitedFor takes a replica of the meta group away that
// had applied something: the agent is done, and does not look again and again for
// what its node no longer applies.
func TestRemovedMetaReplicaIsNotWaitedFor(t *testing.T) {
	n := opened(t, valid(t))
	// Not this node alone: it must not lead, and its removal is not its own matter.
	if err := n.host.Bootstrap(shard.Meta, []raftgroup.Server{{ID: "n1", Voter: true}, {ID: "n2", Voter: true}}); err != nil {
		t.Fatal(err)
	}
	if err := n.host.Start(shard.Meta); err != nil {
		t.Fatal(err)
	}
	n.agent.metaApplied(9)
	adopt(t, n, mapOf(t, 7, "n1", "n2"))
	if n.agent.look(t.Context()) {
		t.Error("done before the entry was applied that was seen")
	}
	adopt(t, n, mapOf(t, 8, "n2", "n2"))
	n.agent.look(t.Context()) // removes the replica
	if !n.agent.look(t.Context()) {
		t.Error("not done although the map gives nothing to this node")
	}
	if g := n.host.Groups(); len(g) != 0 {
		t.Errorf("groups %v run, want none", g)
	}
}

// TestAgentLooksRarelyWhenItDoesNotHelp counts looks in the bubble's time.
func TestAgentLooksRarelyWhenItDoesNotHelp(t *testing.T) {
	tests := []struct {
		name        string
		done        bool
		least, most int
	}{
		{"all is done", true, 12, 13},
		{"a permanent failure", false, 30, 50},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				looks := 0
				lookAgain(ctx, nil, func(context.Context) bool { looks++; return tt.done })
				if looks < tt.least || looks > tt.most {
					t.Errorf("%d looks in a minute, want %d to %d", looks, tt.least, tt.most)
				}
			})
		})
	}
}

// TestAgentLooksSoonWhenWoken: after a long failure, what is new counts.
func TestAgentLooksSoonWhenWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		wake := make(chan struct{}, 1)
		time.AfterFunc(30*time.Second+time.Millisecond, func() { wake <- struct{}{} })
		var woken time.Time
		begin := time.Now()
		lookAgain(ctx, wake, func(context.Context) bool {
			switch since := time.Since(begin); {
			case since == 30*time.Second+time.Millisecond:
				woken = time.Now()
			case !woken.IsZero():
				if d := time.Since(woken); d != agentRetry {
					t.Errorf("the next look came after %v, want %v", d, agentRetry)
				}
				cancel()
			}
			return false
		})
		if woken.IsZero() {
			t.Error("it was not woken")
		}
	})
}

// TestAFailureIsLoggedOnce fails to follow the map in the same way again and
// again.
func TestAFailureIsLoggedOnce(t *testing.T) {
	n := opened(t, valid(t))
	var log bytes.Buffer
	n.agent.log = slog.New(slog.NewTextHandler(&log, nil))
	if err := n.host.Close(); err != nil { // nothing can be started
		t.Fatal(err)
	}
	m := mapOf(t, 7, "n1", "n1")
	for range 10 {
		if n.agent.follow(m) {
			t.Fatal("done although no group runs")
		}
	}
	if lines := strings.Count(log.String(), "\n"); lines != len(m.Groups) {
		t.Errorf("%d lines for %d groups:\n%s", lines, len(m.Groups), log.String())
	}
}

func adopt(t *testing.T, n *Node, m *shard.Map) {
	t.Helper()
	if err := n.agent.adopt(m); err != nil {
		t.Fatal(err)
	}
}

// TestAgentLooksAgainForItsFirstMap: the agent is woken while the entry that makes
// the map is applied, before it can be read. It must not rest then because it has
// no map yet.
func TestAgentLooksAgainForItsFirstMap(t *testing.T) {
	n := opened(t, valid(t))
	if !n.agent.look(t.Context()) {
		t.Error("not done although nothing was heard of a map")
	}
	n.agent.metaApplied(9)
	if n.agent.look(t.Context()) {
		t.Error("done before the entry was applied that was seen")
	}
}

// TestRemovedReplicaGoesAfterACrash: the map that takes a replica away is on disk, and
// the node is killed before the replica is wiped, or while it is. The next start wipes
// what is left, and nothing else.
func TestRemovedReplicaGoesAfterACrash(t *testing.T) {
	for _, tt := range []struct {
		name string
		kill func(n *Node) error
	}{
		{"before the promise goes", func(*Node) error { return nil }},
		{"before the log goes", func(n *Node) error { return n.dir.Forget(1) }},
		{"before the state goes", func(n *Node) error { return errors.Join(n.dir.Forget(1), n.logs.Drop(1)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := valid(t)
			n := opened(t, c)
			for g := shard.GroupID(1); g <= 2; g++ {
				if err := n.host.Bootstrap(g, []raftgroup.Server{{ID: "n1", Voter: true}, {ID: "n2", Voter: true}}); err != nil {
					t.Fatal(err)
				}
				gs, err := n.state.Group(g)
				if err == nil {
					err = gs.Begin().Commit(1, 1)
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			adopt(t, n, mapOf(t, 7, "n2", "n1", "n1"))
			if !n.agent.follow(mapOf(t, 7, "n2", "n1", "n1")) {
				t.Fatal("the replicas do not run")
			}
			adopt(t, n, mapOf(t, 8, "n2", "n2", "n1"))
			n.host.Stop(1)
			if err := errors.Join(tt.kill(n), n.stopParts(t.Context())); err != nil {
				t.Fatal(err)
			}

			n = opened(t, c)
			m, err := readMapFile(c.DataDir)
			if err == nil {
				err = n.resume(m)
			}
			if err != nil {
				t.Fatal(err)
			}
			for g, want := range map[shard.GroupID]bool{1: false, 2: true} {
				_, promised := n.dir.Promise(g)
				logged := slices.Contains(n.logs.Groups(), g)
				gs, err := n.state.Group(g)
				if err != nil {
					t.Fatal(err)
				}
				applied, _ := gs.Applied()
				if promised != want || logged != want || (applied > 0) != want {
					t.Errorf("group %d: a promise: %v, a log: %v, applied: %d", g, promised, logged, applied)
				}
			}
		})
	}
}
