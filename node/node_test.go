package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/internal/obs"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/shard/raftgroup"
	"github.com/chatnode/chatnode/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func valid(t *testing.T) Config {
	t.Helper()
	c := Default()
	c.NodeID, c.DataDir = "n1", filepath.Join(t.TempDir(), "n1")
	c.Listen = Listen{Client: "127.0.0.1:0", Peer: "127.0.0.1:0", Debug: "127.0.0.1:0"}
	c.Auth.Secret = strings.Repeat("s", 32)
	c.Storage.ReserveBytes = 1 << 20
	return c
}

func TestValidateNamesEveryFault(t *testing.T) {
	tests := []struct {
		key    string
		change func(*Config)
	}{
		{"node_id", func(c *Config) { c.NodeID = "no spaces" }},
		{"node_id", func(c *Config) { c.NodeID = "n1@rack" }}, // a device may be called so, a node not
		{"zone", func(c *Config) { c.Zone = "rack 1" }},
		{"zone", func(c *Config) { c.Zone = strings.Repeat("z", 65) }},
		{"data_dir", func(c *Config) { c.DataDir = "" }},
		{"listen.client", func(c *Config) { c.Listen.Client = "7400" }},
		{"listen.peer", func(c *Config) { c.Listen.Peer = "127.0.0.1:http" }},
		{"listen.client: 0.0.0.0:1 is reachable", func(c *Config) { c.Listen.Client = "0.0.0.0:1" }},
		{"listen.peer: :1 is reachable", func(c *Config) { c.Listen.Peer = ":1" }},
		{"listen.debug", func(c *Config) { c.Listen.Debug = "10.0.0.1:1"; c.Insecure = true }},
		{"advertise.peer", func(c *Config) { c.Advertise.Peer = "example.org:0" }},
		{"advertise.client", func(c *Config) { c.Advertise.Client = strings.Repeat("a", 255) + ":1" }},
		{"tls.client_cert", func(c *Config) { c.TLS.ClientCert = "x" }},
		{"tls.peer_cert", func(c *Config) { c.TLS.PeerCert = "x" }},
		{"storage.log", func(c *Config) { c.Storage.Log = "paper" }},
		{"storage.cache_bytes", func(c *Config) { c.Storage.CacheBytes = 1 }},
		{"raft.election_timeout", func(c *Config) { c.Raft.ElectionTimeout = time.Millisecond }},
		{"cluster.groups", func(c *Config) { c.Cluster.Groups = 257 }},
		{"cluster.replicas", func(c *Config) { c.Cluster.Replicas = 2 }},
		{"cluster.join_timeout", func(c *Config) { c.Cluster.JoinTimeout = -time.Second }},
		{"memory.limit_bytes", func(c *Config) { c.Memory.LimitBytes = -1 }},
		{"log.level", func(c *Config) { c.Log.Level = "loud" }},
		{"memory.gc_percent", func(c *Config) { c.Memory.GCPercent = 1 }},
		{"stop_after", func(c *Config) { c.StopAfter = 0 }},
	}
	all := valid(t)
	if err := all.Validate(); err != nil {
		t.Fatalf("a valid configuration: %v", err)
	}
	for _, tt := range tests {
		c := valid(t)
		tt.change(&c)
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), tt.key) {
			t.Errorf("Validate = %v, want an error about %s", err, tt.key)
		}
	}
	all.Storage.Log, all.Cluster.Groups = "", 0
	if err := all.Validate(); !strings.Contains(err.Error(), "storage.log") || !strings.Contains(err.Error(), "cluster.groups") {
		t.Errorf("Validate = %v, want both faults", err)
	}
}

// TestFailedReplicationIsTold: when a part cannot be made, those before it are
// stopped and the reason is given.
func TestFailedReplicationIsTold(t *testing.T) {
	c := valid(t)
	c.Raft.ElectionTimeout = time.Nanosecond // Validate would refuse it
	n := &Node{
		cfg: c, how: Start{Bootstrap: true}, log: slog.New(slog.DiscardHandler), self: "n1",
		failed: make(chan error, 1), free: store.FreeBytes, metrics: obs.NewRegistry(""),
	}
	if err := n.start(t.Context()); err == nil || !strings.Contains(err.Error(), "heartbeat") {
		t.Errorf("start = %v, want an error about the heartbeat", err)
	}
	if err := n.stopParts(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func TestIncarnationStays(t *testing.T) {
	dir := t.TempDir()
	one, err := incarnation(dir)
	if err != nil {
		t.Fatal(err)
	}
	two, err := incarnation(dir)
	if err != nil || one != two {
		t.Errorf("second call: %x, %v, want %x", two, err, one)
	}
	other, err := incarnation(t.TempDir())
	if err != nil || other == one {
		t.Errorf("another directory has the same incarnation (%v)", err)
	}
	if err := os.WriteFile(filepath.Join(dir, incarnationFile), []byte("zz"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := incarnation(dir); chat.CodeOf(err) != chat.Corrupt {
		t.Errorf("a damaged file: %v, want corrupt", err)
	}
}

// TestStartsAndStops runs a node in this process, twice on one directory, and
// leaves nothing behind.
func TestStartsAndStops(t *testing.T) {
	for _, kind := range []string{"segment", "pebble", "bolt"} {
		t.Run(kind, func(t *testing.T) {
			c := valid(t)
			c.Storage.Log, c.Cluster.Groups, c.Cluster.Replicas = kind, 2, 1
			var cluster string
			for range 2 {
				n := start(t, c)
				if cluster != "" && n.cluster() != cluster {
					t.Errorf("the second start is in cluster %s, want %s", n.cluster(), cluster)
				}
				cluster = n.cluster()
				if _, err := os.Stat(filepath.Join(c.DataDir, RunFile)); err != nil {
					t.Error(err)
				}
				if err := n.Stop(t.Context()); err != nil {
					t.Errorf("stop: %v", err)
				}
				if _, err := os.Stat(filepath.Join(c.DataDir, RunFile)); err == nil {
					t.Error("the run file is left")
				}
			}
			report, err := Check(t.Context(), c.DataDir, "")
			if err != nil || !report.Sound || len(report.Groups) != 3 {
				t.Errorf("check: %+v, %v", report, err)
			}
			if report.LogsUnread != (kind == "bolt") {
				t.Errorf("check says of logs that were not read: %v", report.LogsUnread)
			}
		})
	}
}

func start(t *testing.T, c Config) *Node {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	n, err := New(ctx, c, Start{Bootstrap: true}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestUnfinishedBootstrapGoesOn starts on a directory whose first start ended
// before the cluster was made.
func TestUnfinishedBootstrapGoesOn(t *testing.T) {
	c := valid(t)
	c.Cluster.Replicas = 1
	plan := pending{Cluster: "c-planned", Groups: 3, Token: strings.Repeat("t", 32)}
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := writePending(c.DataDir, plan); err != nil {
		t.Fatal(err)
	}
	n := start(t, c)
	defer func() {
		if err := n.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}()
	if n.cluster() != plan.Cluster || n.JoinToken() != plan.Token || len(n.router.Map().Groups) != 4 {
		t.Errorf("cluster %s with %d groups, want what was planned", n.cluster(), len(n.router.Map().Groups))
	}
	if _, unfinished, err := readPending(c.DataDir); unfinished || err != nil {
		t.Errorf("the plan is still there (%v)", err)
	}
}

// TestCutBootstrapGoesOn starts on directories whose first start ended when a
// group had promised to vote and its log had no entry yet.
func TestCutBootstrapGoesOn(t *testing.T) {
	for cut := range shard.GroupID(2) {
		t.Run(fmt.Sprint(cut), func(t *testing.T) {
			c := valid(t)
			c.Cluster.Groups, c.Cluster.Replicas = 1, 1
			n := opened(t, c)
			if err := n.host.Bootstrap(cut, []raftgroup.Server{{ID: n.self, Voter: true}}); err != nil {
				t.Fatal(err)
			}
			log, err := n.logs.Group(cut)
			if err == nil {
				err = log.DeleteRange(1, 1)
			}
			if err == nil {
				err = writePending(c.DataDir, pending{Cluster: n.cluster(), Groups: 1, Token: strings.Repeat("t", 32)})
			}
			if err = errors.Join(err, n.stopParts(t.Context())); err != nil {
				t.Fatal(err)
			}
			n = start(t, c)
			if !n.Ready() {
				t.Error("a group has no leader")
			}
			if err := n.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestFailedStartLeavesNothing(t *testing.T) {
	c := valid(t)
	_, err := New(t.Context(), c, Start{}, slog.New(slog.DiscardHandler))
	if chat.CodeOf(err) != chat.Invalid || !strings.Contains(err.Error(), "--bootstrap") {
		t.Fatalf("New = %v, want an error that names --bootstrap", err)
	}
	left, err := os.ReadDir(c.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range left {
		names = append(names, f.Name())
	}
	if !slices.Equal(names, []string{"LOCK"}) {
		t.Errorf("left behind: %v", cmp.Diff([]string{"LOCK"}, names))
	}
}
