package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/fsm/meta"
	"github.com/chatnode/chatnode/shard"
)

// simCluster lets the loop act on a [sim].
type simCluster struct {
	stops    shard.NodeID // a node that answers and is about to end
	mu       sync.Mutex   // guards all
	s        *sim
	leads    bool
	running  map[shard.GroupID]int // changes at this moment
	most     int                   // changes at one moment, of all groups
	transfer []time.Time
}

func (c *simCluster) LeadsMeta() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leads
}

func (c *simCluster) Map(context.Context) (*shard.Map, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.s.settle()
	return c.s.view().Map, nil
}

func (c *simCluster) Status(_ context.Context, node shard.NodeID) (shard.NodeStatus, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.s.up[node] {
		return shard.NodeStatus{}, errors.New("no answer")
	}
	st := shard.NodeStatus{Node: node, Stopping: node == c.stops}
	for g := range c.s.conf {
		last, runs := c.s.log[g][node]
		if !runs {
			continue
		}
		conf := c.s.conf[g]
		st.Groups = append(st.Groups, shard.GroupStatus{
			Group: shard.GroupID(g), Leads: conf.Leader == node, Term: 1, Last: last, Commit: conf.Commit,
			Voters: slices.Clone(conf.Voters), Nonvoters: slices.Clone(conf.Nonvoters),
		})
	}
	return st, nil
}

func (c *simCluster) ProposeMeta(_ context.Context, cmd meta.Command) (fsm.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch d := cmd.(type) {
	case meta.SetReplicas:
		if c.s.m.Groups[d.Group].Epoch != d.Epoch {
			return fsm.Refuse(chat.Conflict, ""), nil
		}
		c.s.do(Step{Kind: Assign, Group: d.Group, Replicas: d.Replicas})
	case meta.RemoveNode:
		c.s.do(Step{Kind: Forget, Node: d.ID})
	default:
		return fsm.Result{}, fmt.Errorf("unexpected %T", cmd)
	}
	return fsm.Result{}, nil
}

func (c *simCluster) Change(_ context.Context, leader shard.NodeID, ch shard.Change) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.s.conf[ch.Group].Leader != leader {
		return chat.E("change", chat.NotLeader, "", nil)
	}
	if c.running[ch.Group]++; c.running[ch.Group] > 1 {
		c.s.t.Errorf("two changes of group %d at once", ch.Group)
	}
	c.most = max(c.most, len(c.running))
	c.mu.Unlock()
	time.Sleep(10 * time.Millisecond) // of the bubble's time: what a change takes
	c.mu.Lock()
	delete(c.running, ch.Group)
	kind := map[shard.Op]StepKind{shard.AddNonvoter: Add, shard.Promote: Promote, shard.Remove: Drop, shard.Transfer: Transfer}[ch.Op]
	if kind == Transfer {
		c.transfer = append(c.transfer, time.Now())
	}
	c.s.do(Step{Kind: kind, Group: ch.Group, Node: ch.Node})
	return nil
}

// during runs fn while the loop runs for d of the bubble's time.
func during(t *testing.T, c *simCluster, d time.Duration) {
	t.Helper()
	l, err := New(DefaultConfig(), c, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	l.Kick()
	l.Run(ctx)
}

func TestLoopGrowsACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &simCluster{s: newSim(t, 7, 256), leads: true, running: map[shard.GroupID]int{}}
		c.s.join("n01", "")
		c.s.join("n02", "")
		during(t, c, time.Minute)
		c.s.check()
		if most := DefaultRules().MovesMax; c.most > most {
			t.Errorf("%d groups were changed at once, want at most %d", c.most, most)
		}
	})
}

func TestLoopRestsUnlessItLeads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &simCluster{s: newSim(t, 7, 8), running: map[shard.GroupID]int{}}
		c.s.join("n01", "")
		c.s.join("n02", "")
		during(t, c, time.Minute)
		if c.s.m.Epoch != 1 {
			t.Errorf("a node that does not lead the meta group changed the map to epoch %d", c.s.m.Epoch)
		}
	})
}

// TestLoopSparesWhoStops: what a stopping node has handed over does not come
// back to it, however uneven the leaders are.
func TestLoopSparesWhoStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &simCluster{s: newSim(t, 7, 8), leads: true, running: map[shard.GroupID]int{}}
		c.s.join("n01", "")
		c.s.join("n02", "")
		during(t, c, time.Minute)
		c.stops = "n01"
		for g := range c.s.conf {
			if c.s.conf[g].Leader == c.stops {
				c.s.conf[g].Leader = "n00"
			}
		}
		during(t, c, time.Minute)
		for g := range c.s.conf {
			if c.s.conf[g].Leader == c.stops {
				t.Errorf("group %d was given to the node that stops", g)
			}
		}
	})
}

// TestLoopIsGentleAfterACrash: leaders go back to a node that has returned, by
// themselves, but not at once and not all at a time.
func TestLoopIsGentleAfterACrash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &simCluster{s: newSim(t, 7, 8), leads: true, running: map[shard.GroupID]int{}}
		c.s.join("n01", "")
		c.s.join("n02", "")
		during(t, c, time.Minute)
		c.s.up["n01"] = false
		during(t, c, 3*time.Second)
		c.s.up["n01"] = true
		c.transfer = nil
		back := time.Now()
		during(t, c, time.Minute)
		c.s.check()
		if len(c.transfer) == 0 {
			t.Fatal("no leader went back")
		}
		cfg := DefaultConfig()
		if d := c.transfer[0].Sub(back); d < cfg.Settle {
			t.Errorf("the first leader moved %v after the return, want at least %v", d, cfg.Settle)
		}
		for i := 1; i < len(c.transfer); i++ {
			if d := c.transfer[i].Sub(c.transfer[i-1]); d < cfg.SpreadEvery {
				t.Errorf("two leaders moved within %v", d)
			}
		}
	})
}
