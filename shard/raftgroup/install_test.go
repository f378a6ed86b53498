package raftgroup

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// fill puts n commands into g through many proposals at a time.
func (c *cluster) fill(g shard.GroupID, n int, prefix string) {
	c.t.Helper()
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for i := w; i < n; i += 16 {
				c.put(g, fmt.Sprintf("%s%d", prefix, i))
			}
		})
	}
	wg.Wait()
}

func (m *member) cut(t *testing.T, g shard.GroupID) {
	t.Helper()
	gr := m.host.group(g)
	r := gr.raft.Load()
	eventually(t, "the log to be cut", func() bool {
		rc := r.ReloadableConfig()
		rc.TrailingLogs = 1
		if err := r.ReloadConfig(rc); err != nil {
			t.Fatal(err)
		}
		if err := r.Snapshot().Error(); err != nil {
			c := m.c
			_, _ = m.propose(g, "one more") // a snapshot needs something new
			_ = c
			return false
		}
		return gr.logs.log.FirstIndex() > 2
	})
}

// TestInstallUnderLoad: a follower that was away for longer than the log reaches
// back comes back by a snapshot while load goes on, and then follows.
func TestInstallUnderLoad(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	c.put(1, "first")
	lead := c.leader(1)
	away := c.others(lead)[0]
	away.kill()
	c.fill(1, 500, "a")
	lead = c.leader(1)
	lead.cut(t, 1)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				_, _ = lead.propose(1, fmt.Sprintf("load%d", i)) // what is refused is no load
			}
		}
	})
	installed := make(chan struct{}, 8)
	c.deps = func(m *member, d *Deps) {
		d.Metrics.Installed = func(shard.GroupID, int64) { installed <- struct{}{} }
	}
	away.start(1)
	<-installed
	eventually(t, "the follower to catch up", func() bool { return away.host.Applied(1) >= lead.host.Applied(1)-1 })
	close(stop)
	wg.Wait()
	n := len(c.leader(1).rows(1))
	c.same(1, n)
	away.kill() // and what was installed is durable
	away.start(1)
	c.put(1, "last")
	c.same(1, n+1)
}

// laterTerm moves the leadership of group 1 among the nodes that run.
func (c *cluster) laterTerm(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	before, _ := c.leader(1).host.Status(1)
	eventually(t, "a later term", func() bool {
		_ = c.leader(1).host.TransferLeadership(ctx, 1, "")
		s, _ := c.leader(1).host.Status(1)
		return s.Term > before.Term
	})
}

// TestInstallOntoLogThatIsAhead: a node whose log goes on beyond a snapshot, with
// entries that lost, takes the snapshot and drops them.
func TestInstallOntoLogThatIsAhead(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	c.put(1, "first")
	away := c.others(c.leader(1))[0]
	c.same(1, 1)
	away.kill()
	// The others go on in a later term, so that the entries made up below are of
	// a leader that nobody followed.
	c.laterTerm(t)
	c.fill(1, 200, "a")
	c.leader(1).cut(t, 1)

	// The log of the node that is away grows by entries of its own term that
	// nobody else has, far beyond what the others have.
	away.lone(t, 1, 4999)

	away.start(1)
	n := len(c.leader(1).rows(1))
	c.same(1, n)
	c.put(1, "after")
	c.same(1, n+1)
	if s, _ := away.host.Status(1); s.Last >= 4999 {
		t.Errorf("the log still ends at %d", s.Last)
	}
	away.kill()
	away.start(1)
	c.put(1, "again")
	c.same(1, n+2)
}

// TestCutKeepsServing: cutting the log under load loses nothing.
func TestCutKeepsServing(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	c.fill(1, 300, "a")
	for _, m := range c.nodes {
		if err := m.host.group(1).cut(0); err != nil {
			t.Logf("cut: %v", err)
		}
	}
	c.fill(1, 100, "b")
	c.same(1, 400)
	for _, m := range c.nodes {
		m.kill()
	}
	for _, m := range c.nodes {
		m.start(1)
	}
	c.put(1, "end")
	c.same(1, 401)
}

// TestStateAheadOfLog: a log that ends before the state is dropped at the start,
// and the replica goes on from the state.
func TestStateAheadOfLog(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	c.boot(1)
	c.fill(1, 50, "a")
	m := c.nodes[0]
	if err := m.host.group(1).machine.state.Barrier(); err != nil {
		t.Fatal(err)
	}
	m.kill()
	log, err := openTestLog(t, m)
	if err != nil {
		t.Fatal(err)
	}
	gl, err := log.Group(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := gl.DeleteRange(gl.LastIndex()-3, gl.LastIndex()); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	// The promise of the graceful stop names the applied index, which the state
	// still has.
	m.start(1)
	c.put(1, "after")
	c.same(1, 51)
}

// TestWipedReplicaRefuses: a replica that promised more than it has does not vote.
func TestWipedReplicaRefuses(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	c.put(1, "a")
	m := c.nodes[0]
	c.same(1, 1)
	m.kill()
	log, err := openTestLog(t, m)
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Drop(1); err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
	st, err := store.OpenState(m.dir+"/state", store.StateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gs, err := st.Group(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := gs.Drop(); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.tryStart(1); err == nil {
		t.Error("a wiped voter started")
	}
}

// TestReadIndexSeesWrites: a confirmed read sees every write that was
// acknowledged before it was asked for.
func TestReadIndexSeesWrites(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := range 100 {
		c.put(1, fmt.Sprint(i))
		lead := c.leader(1)
		if err := lead.host.ReadIndex(ctx, 1); err != nil {
			continue // leadership moved; the next round asks again
		}
		if n := len(lead.rows(1)); n < i+1 {
			t.Fatalf("a read after write %d sees %d rows", i+1, n)
		}
	}
}
