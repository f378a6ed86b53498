package router

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

// cluster is three routers over one make-believe log per group, so that tests
// decide who leads, who is silent and when. The real Raft host stands in the
// tests of node/peer.
type cluster struct {
	t     *testing.T
	m     *shard.Map
	nodes map[shard.NodeID]*testNode

	mu     sync.Mutex // guards all below
	leader shard.NodeID
	silent map[shard.NodeID]bool // takes proposals and answers nothing
	down   map[shard.NodeID]bool
	log    []string // commands, each once
	known  map[string]bool
	fault  func(node shard.NodeID) error // asked before each append and each read of a quorum
}

type testNode struct {
	c  *cluster
	id shard.NodeID
	r  *Router
}

// testRemote is how a node reaches the others.
type testRemote struct{ n *testNode }

func newCluster(t *testing.T, cfg Config, metrics Metrics) *cluster {
	t.Helper()
	c := &cluster{
		t: t, nodes: map[shard.NodeID]*testNode{}, leader: "a",
		silent: map[shard.NodeID]bool{}, down: map[shard.NodeID]bool{}, known: map[string]bool{},
	}
	ids := []shard.NodeID{"a", "b", "c"}
	m := shard.Map{Cluster: "test", Epoch: 1, Level: 1}
	for _, id := range ids {
		m.Nodes = append(m.Nodes, shard.Node{ID: id, Client: "x:1", Peer: string(id) + ":1", State: shard.Active, Level: 1})
	}
	for g := range shard.GroupID(3) {
		m.Groups = append(m.Groups, shard.Group{ID: g, Epoch: 1, Replicas: ids})
	}
	var err error
	if c.m, err = shard.New(m, shard.Spread(2)); err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		n := &testNode{c: c, id: id}
		if n.r, err = New(cfg, Deps{Self: id, Local: n, Remote: testRemote{n}, Metrics: metrics}); err != nil {
			t.Fatal(err)
		}
		n.r.SetMap(c.m)
		c.nodes[id] = n
		t.Cleanup(n.r.Close)
	}
	return c
}

func (c *cluster) lead(id shard.NodeID) {
	c.mu.Lock()
	c.leader = id
	c.mu.Unlock()
}

func (c *cluster) set(m map[shard.NodeID]bool, id shard.NodeID, v bool) {
	c.mu.Lock()
	m[id] = v
	c.mu.Unlock()
}

func (c *cluster) entries() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.log...)
}

// Propose implements Local: it appends at once, once per command.
func (n *testNode) Propose(_ shard.GroupID, cmd []byte, done func(fsm.Result, error)) {
	c := n.c
	c.mu.Lock()
	var res fsm.Result
	var err error
	switch {
	case c.silent[n.id]:
		c.mu.Unlock()
		return // as a leader that stands still, whose answer never comes
	case c.leader != n.id:
		err = chat.E("propose", chat.NotLeader, "", nil)
	case c.fault != nil && c.fault(n.id) != nil:
		err = c.fault(n.id)
	default:
		if !c.known[string(cmd)] {
			c.known[string(cmd)] = true
			c.log = append(c.log, string(cmd))
		} else {
			res.Ack.Dup = true
		}
		res.Ack.Seq = 1
	}
	c.mu.Unlock()
	done(res, err)
}

func (n *testNode) ReadIndex(context.Context, shard.GroupID) error {
	if !n.IsLeader(1) {
		return chat.E("read", chat.NotLeader, "", nil)
	}
	if n.c.fault != nil {
		return n.c.fault(n.id)
	}
	return nil
}

func (n *testNode) View(shard.GroupID) (View, error) { return emptyView{}, nil }

func (n *testNode) Leader(shard.GroupID) (shard.NodeID, bool) {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.leader, n.c.leader != ""
}

func (n *testNode) IsLeader(shard.GroupID) bool {
	n.c.mu.Lock()
	defer n.c.mu.Unlock()
	return n.c.leader == n.id
}

// Up implements Remote.
func (n testRemote) Up(id shard.NodeID) bool {
	n.n.c.mu.Lock()
	defer n.n.c.mu.Unlock()
	return n.n.c.nodes[id] != nil && !n.n.c.down[id]
}

func (n testRemote) Read(ctx context.Context, id shard.NodeID, g shard.GroupID, req []byte) ([]byte, error) {
	return n.n.c.nodes[id].r.ServeRead(ctx, g, req, nil)
}

func (n testRemote) Propose(id shard.NodeID, g shard.GroupID, cmd []byte, c Caller, token uint64) error {
	if !n.Up(id) {
		return chat.E("forward", chat.Unavailable, "", nil)
	}
	to := n.n.c.nodes[id]
	to.r.ServePropose(g, cmd, func(res fsm.Result, err error) {
		if err != nil {
			err = to.r.Refused(g, err)
		}
		c.Answered(token, res, err)
	})
	return nil
}

type emptyView struct{}

func (emptyView) Get([]byte) ([]byte, bool, error) { return nil, false, nil }
func (emptyView) Scan(_, _ []byte, _ bool, _ func(k, v []byte) (bool, error)) error {
	return nil
}
func (emptyView) Close() error { return nil }

func command(conv string, n int) []byte {
	id := chat.ClientID{6: 0x70, 8: 0x80, 14: byte(n >> 8), 15: byte(n), 0: 1}
	return fsm.Encode(nil, fsm.Append{
		Conv: chat.ConvID(conv), Sender: "u", Device: "d", ClientID: id, Text: fmt.Sprintf("text %d", n),
	})
}

type outcome struct {
	res fsm.Result
	err error
}

// send proposes and returns a channel with room for every answer there may be.
func send(r *Router, conv string, cmd []byte, timeout time.Duration) <-chan outcome {
	ch := make(chan outcome, 4)
	r.Propose(conv, cmd, time.Now().Add(timeout), func(res fsm.Result, err error) { ch <- outcome{res, err} })
	return ch
}

func await(t *testing.T, ch <-chan outcome) outcome {
	t.Helper()
	select {
	case o := <-ch:
		return o
	case <-time.After(time.Minute):
		t.Fatal("no answer within a minute")
		return outcome{}
	}
}
