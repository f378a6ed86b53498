package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// heldLog is a log whose disk can be held: what is appended meanwhile does not
// become durable, as far as anyone can see, until it is let go.
type heldLog struct {
	store.Log
	mu     sync.Mutex
	cond   sync.Cond
	held   bool
	lie    bool // answers durable while held: the negative control
	groups map[shard.GroupID]*heldGroup
}

func holdable(l store.Log) *heldLog {
	h := &heldLog{Log: l, groups: map[shard.GroupID]*heldGroup{}}
	h.cond.L = &h.mu
	return h
}

type heldGroup struct {
	store.GroupLog
	h       *heldLog
	durable uint64 // shown while held
	fn      func(uint64)
}

func (h *heldLog) Group(g shard.GroupID) (store.GroupLog, error) {
	inner, err := h.Log.Group(g)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if hg := h.groups[g]; hg != nil {
		return hg, nil
	}
	hg := &heldGroup{GroupLog: inner, h: h}
	h.groups[g] = hg
	return hg, nil
}

// hold stops the disk; release lets it go.
func (h *heldLog) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = true
	for _, g := range h.groups {
		g.durable = g.GroupLog.DurableIndex()
	}
}

func (h *heldLog) release() {
	h.mu.Lock()
	h.held = false
	h.cond.Broadcast()
	var calls []func()
	for _, g := range h.groups {
		if fn := g.fn; fn != nil {
			calls = append(calls, func() { fn(g.GroupLog.DurableIndex()) })
		}
	}
	h.mu.Unlock()
	for _, c := range calls {
		c()
	}
}

func (g *heldGroup) DurableIndex() uint64 {
	g.h.mu.Lock()
	defer g.h.mu.Unlock()
	if g.h.held {
		if g.h.lie {
			return g.LastIndex()
		}
		g.durable = min(g.durable, g.LastIndex())
		return g.durable
	}
	return g.GroupLog.DurableIndex()
}

func (g *heldGroup) WaitDurable(index uint64) error {
	g.h.mu.Lock()
	for g.h.held && !g.h.lie && index > g.durable {
		g.h.cond.Wait()
	}
	g.h.mu.Unlock()
	return g.GroupLog.WaitDurable(index)
}

func (g *heldGroup) NotifyDurable(fn func(uint64)) {
	g.h.mu.Lock()
	g.fn = fn
	g.h.mu.Unlock()
	if fn == nil {
		g.GroupLog.NotifyDurable(nil)
		return
	}
	g.GroupLog.NotifyDurable(func(d uint64) {
		g.h.mu.Lock()
		quiet := g.h.held && !g.h.lie
		g.h.mu.Unlock()
		if !quiet {
			fn(d)
		}
	})
}

// heldCluster is a cluster of which every disk can be held.
func heldCluster(t *testing.T, n int) (*cluster, map[shard.NodeID]*heldLog) {
	t.Helper()
	cfg := testConfig()
	cfg.Heartbeat = 5 * time.Second // held disks are no reason for elections
	c := newCluster(t, n, cfg)
	disks := map[shard.NodeID]*heldLog{}
	c.wrap = func(id shard.NodeID, l store.Log) store.Log {
		disks[id] = holdable(l)
		return disks[id]
	}
	t.Cleanup(func() { // before the nodes are stopped
		for _, d := range disks {
			d.release()
		}
	})
	return c, disks
}

// settled waits until an entry has reached the logs of all nodes, so that
// nothing but the disks can be what an acknowledgement waits for.
func (c *cluster) settled(g shard.GroupID, index uint64) {
	c.t.Helper()
	for _, m := range c.nodes {
		log, err := m.logs.Group(g)
		if err != nil {
			c.t.Fatal(err)
		}
		eventually(c.t, fmt.Sprintf("entry %d in the log of %s", index, m.id), func() bool { return log.LastIndex() >= index })
	}
}

// TestNothingIsAcknowledgedEarly holds disks and looks which acknowledgements
// come: one needs the leader's disk and those of a majority.
func TestNothingIsAcknowledgedEarly(t *testing.T) {
	tests := []struct {
		name      string
		voters    int
		leader    bool // held
		followers int  // held
		lie       bool
		want      bool
	}{
		{name: "one voter, held", voters: 1, leader: true},
		{name: "one voter", voters: 1, want: true},
		{name: "two voters, leader held", voters: 2, leader: true},
		{name: "two voters, follower held", voters: 2, followers: 1},
		{name: "three voters, leader held", voters: 3, leader: true},
		{name: "three voters, both followers held", voters: 3, followers: 2},
		{name: "three voters, one follower held", voters: 3, followers: 1, want: true},
		{name: "five voters, leader held", voters: 5, leader: true},
		{name: "five voters, three followers held", voters: 5, followers: 3},
		{name: "five voters, two followers held", voters: 5, followers: 2, want: true},
		{name: "control: a leader's disk that lies", voters: 3, leader: true, lie: true, want: true},
		{name: "control: followers' disks that lie", voters: 3, followers: 2, lie: true, want: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, disks := heldCluster(t, tt.voters)
			c.boot(1)
			if tt.voters > 1 {
				eventually(t, "connections", func() bool { return c.nodes[0].host.hub.Connected(c.nodes[1].id) })
				c.nodes[0].host.group(1).trans.Load().Elect()
			}
			c.put(1, "before")
			c.same(1, 1)
			lead := c.leader(1)
			last, _ := lead.host.Status(1)
			c.settled(1, last.Last)
			eventually(t, "durable logs", func() bool {
				for _, m := range c.nodes {
					if s, _ := m.host.Status(1); s.Durable < last.Last {
						return false
					}
				}
				return true
			})
			held := c.others(lead)[:tt.followers]
			if tt.leader {
				held = append(held, lead)
			}
			for _, m := range held {
				disks[m.id].lie = tt.lie
				disks[m.id].hold()
			}
			acked := make(chan error, 1)
			lead.host.Propose(1, command("held"), func(_ fsm.Result, err error) { acked <- err })
			if tt.want {
				select {
				case err := <-acked:
					if err != nil {
						t.Fatalf("propose: %v", err)
					}
				case <-time.After(patience):
					t.Fatal("no acknowledgement, though a majority with the leader is durable")
				}
			} else {
				c.settled(1, last.Last+1)
				select {
				case err := <-acked:
					t.Fatalf("acknowledged (%v) before it was durable", err)
				case <-time.After(300 * time.Millisecond): // a wrong acknowledgement would take one round trip
				}
			}
			for _, m := range held {
				disks[m.id].release()
			}
			if !tt.want {
				select {
				case err := <-acked:
					if err != nil {
						t.Fatalf("propose after the release: %v", err)
					}
				case <-time.After(patience):
					t.Fatal("no acknowledgement after the disks were let go")
				}
			}
			c.same(1, 2)
		})
	}
}

// TestShrinkWithEntriesInFlight: removing voters lowers the quorum under entries
// that are not durable at the leader. They are not acknowledged by that.
func TestShrinkWithEntriesInFlight(t *testing.T) {
	c, disks := heldCluster(t, 2)
	c.boot(1)
	c.put(1, "before")
	lead := c.leader(1)
	other := c.others(lead)[0]
	c.same(1, 1)
	disks[lead.id].hold()
	before := lead.host.Applied(1)
	acked := make(chan error, 1)
	lead.host.Propose(1, command("held"), func(_ fsm.Result, err error) { acked <- err })
	c.settled(1, before+1)
	removed := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		removed <- lead.host.RemoveServer(ctx, 1, other.id)
	}()
	log, err := lead.logs.Group(1)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both entries in the leader's log", func() bool { return log.LastIndex() >= before+2 })
	select {
	case err := <-acked:
		t.Fatalf("acknowledged (%v) while the only voter's disk is held", err)
	case err := <-removed:
		t.Fatalf("removed (%v) while the only voter's disk is held", err)
	case <-time.After(300 * time.Millisecond):
	}
	disks[lead.id].release()
	for _, ch := range []chan error{acked, removed} {
		select {
		case err := <-ch:
			if err != nil && !errors.Is(err, ErrAmbiguous) {
				t.Errorf("after the release: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("no answer after the disk was let go")
		}
	}
}
