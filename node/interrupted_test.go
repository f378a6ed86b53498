package node

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
)

// startsReady starts a node and fails the test when it does not serve soon.
func startsReady(t *testing.T, c Config, how Start) *Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := New(ctx, c, how, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	if !n.Ready() {
		t.Fatalf("node %s is not ready", n.self)
	}
	return n
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within the limit: %s", what)
		}
	}
}

func forgetMap(t *testing.T, c Config) {
	t.Helper()
	if err := os.Remove(filepath.Join(c.DataDir, mapFile)); err != nil {
		t.Fatal(err)
	}
}

// TestJoinDoesNotFound: whoever says join gets no cluster of its own, though the
// directory's first start was to make one and was cut. A start completes it.
func TestJoinDoesNotFound(t *testing.T) {
	c := valid(t)
	c.Cluster.Replicas, c.Cluster.JoinToken = 1, strings.Repeat("j", JoinTokenMin)
	p := pending{Cluster: "c-0123", Groups: 1, Token: strings.Repeat("t", JoinTokenMin)}
	if err := writePending(c.DataDir, p); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n, err := New(ctx, c, Start{JoinPeers: []string{"127.0.0.1:1"}}, slog.New(slog.DiscardHandler))
	if err == nil {
		t.Errorf("it made cluster %s", n.cluster())
		_ = n.Stop(t.Context())
	} else if chat.CodeOf(err) != chat.WrongClust || !strings.Contains(err.Error(), "complete it with chatnode start") {
		t.Errorf("join = %v, want what to do instead", err)
	}
	if n := startsReady(t, c, Start{}); n.cluster() != p.Cluster {
		t.Errorf("the start is in cluster %s, want %s", n.cluster(), p.Cluster)
	}
}

// TestStartsWithoutItsMap: whoever has a replica of the meta group has the map in
// it, and serves although the file is lost, as after a first start that was cut.
func TestStartsWithoutItsMap(t *testing.T) {
	for _, kind := range []string{"segment", "pebble", "bolt"} {
		t.Run(kind, func(t *testing.T) {
			c := valid(t)
			c.Storage.Log, c.Cluster.Groups, c.Cluster.Replicas = kind, 2, 1
			if err := start(t, c).Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			forgetMap(t, c)
			startsReady(t, c, Start{Bootstrap: true})
			if m, err := readMapFile(c.DataDir); m == nil || err != nil {
				t.Errorf("the map was not kept again (%v)", err)
			}
		})
	}
}

// TestMemberStartsWithoutItsMap does it with one of three nodes, which cannot lead
// alone and has no address of the others until they speak to it.
func TestMemberStartsWithoutItsMap(t *testing.T) {
	first := valid(t)
	first.Cluster.Groups = 1
	n1 := startsReady(t, first, Start{Bootstrap: true})
	member := func(id string) Config {
		c := first
		c.NodeID, c.DataDir, c.Cluster.JoinToken = id, filepath.Join(t.TempDir(), id), n1.JoinToken()
		return c
	}
	how := Start{JoinPeers: []string{n1.Addresses().Peer}}
	startsReady(t, member("n2"), how)
	c := member("n3")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	n3, err := New(ctx, c, how, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "three voters of the meta group", func() bool {
		servers, err := n1.host.Configuration(shard.Meta)
		return err == nil && len(servers) == 3 && !slices.ContainsFunc(servers, func(s raftgroup.Server) bool { return !s.Voter })
	})
	if err := n3.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	forgetMap(t, c)
	startsReady(t, c, Start{})
}

// TestBootstrapEndsWithTheMap: the plan goes when the map is on disk, not before.
// No agent runs that would write it later.
func TestBootstrapEndsWithTheMap(t *testing.T) {
	c := valid(t)
	n := opened(t, c)
	plan := pending{Cluster: n.cluster(), Groups: 2, Token: strings.Repeat("t", 32)}
	if err := writePending(c.DataDir, plan); err != nil {
		t.Fatal(err)
	}
	if err := n.found(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if _, unfinished, err := readPending(c.DataDir); unfinished || err != nil {
		t.Errorf("the plan is still there (%v)", err)
	}
	if m, err := readMapFile(c.DataDir); m == nil || err != nil {
		t.Errorf("the plan is gone and there is no map (%v)", err)
	}
}
