package raftgroup

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
)

func TestOneVoterElectsItselfAtOnce(t *testing.T) {
	cfg := testConfig()
	cfg.Heartbeat = 30 * time.Second // nobody waits for this
	c := newCluster(t, 1, cfg)
	c.boot(1)
	if r := c.put(1, "a"); r.Ack.Seq != 1 || r.Ack.TimeMS == 0 {
		t.Errorf("first result = %+v", r)
	}
	c.nodes[0].kill()
	c.nodes[0].start(1)
	if r := c.put(1, "b"); r.Ack.Seq != 2 {
		t.Errorf("after the restart: seq %d, want 2", r.Ack.Seq)
	}
}

func TestReplicates(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(3)
	for g := shard.GroupID(1); g <= 3; g++ {
		for i := range 20 {
			if r := c.put(g, fmt.Sprintf("%d/%d", g, i)); r.Ack.Seq != chat.Seq(i+1) {
				t.Fatalf("group %d: seq %d, want %d", g, r.Ack.Seq, i+1)
			}
		}
		c.same(g, 20)
	}
}

func TestFollowerRefuses(t *testing.T) {
	c := newCluster(t, 3, calmConfig())
	c.boot(1)
	lead := c.leader(1)
	for _, m := range c.others(lead) {
		if _, err := m.propose(1, "x"); chat.CodeOf(err) != chat.NotLeader || errors.Is(err, ErrAmbiguous) {
			t.Errorf("propose at a follower: %v", err)
		}
		if err := m.host.ReadIndex(context.Background(), 1); chat.CodeOf(err) != chat.NotLeader {
			t.Errorf("read at a follower: %v", err)
		}
		eventually(t, "the follower knows the leader", func() bool {
			id, ok := m.host.Leader(1)
			return ok && id == lead.id
		})
	}
	if _, err := lead.propose(7, "x"); chat.CodeOf(err) != chat.NotLeader {
		t.Errorf("propose to an unknown group: %v", err)
	}
}

func TestRestartOfAll(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(2)
	for i := range 10 {
		c.put(1, fmt.Sprint(i))
		c.put(2, fmt.Sprint(i))
	}
	for _, m := range c.nodes {
		m.kill()
	}
	for _, m := range c.nodes {
		m.start(1, 2)
	}
	if r := c.put(1, "again"); r.Ack.Seq != 11 {
		t.Errorf("seq after the restart = %d, want 11", r.Ack.Seq)
	}
	c.put(2, "again")
	c.same(1, 11)
	c.same(2, 11)
}

// TestKillOfLeader: an abrupt end of the leader's process is noticed by the
// broken connection at every follower, and its groups are led again.
func TestKillOfLeader(t *testing.T) {
	cfg := testConfig()
	cfg.Heartbeat = 3 * time.Second
	c := newCluster(t, 3, cfg)
	var told atomic.Int32
	c.deps = func(m *member, d *Deps) {
		d.Metrics.PeerDead = func(shard.NodeID) { told.Add(1) }
	}
	c.boot(4)
	for g := shard.GroupID(1); g <= 4; g++ {
		c.put(g, "before")
	}
	dead := c.leader(1)
	begin := time.Now()
	dead.kill()
	for g := shard.GroupID(1); g <= 4; g++ {
		if r := c.put(g, "after"); r.Ack.Seq != 2 {
			t.Errorf("group %d: seq %d, want 2", g, r.Ack.Seq)
		}
	}
	t.Logf("four groups led again in %v", time.Since(begin))
	eventually(t, "both others to be told", func() bool { return told.Load() >= 2 })
	dead.start(1, 2, 3, 4)
	for g := shard.GroupID(1); g <= 4; g++ {
		c.same(g, 2)
	}
}

func TestTransferAndShutdown(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(4)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for g := shard.GroupID(1); g <= 4; g++ {
		c.put(g, "a")
		lead := c.leader(g)
		to := c.others(lead)[0]
		eventually(t, "the transfer", func() bool {
			l := c.leader(g)
			return l == to || l.host.TransferLeadership(ctx, g, to.id) == nil && c.leader(g) == to
		})
		c.put(g, "b")
	}
	stopping := c.leader(1)
	if err := stopping.host.Shutdown(ctx); err != nil {
		t.Fatalf("shutdown: %v", err)
	}
	stopping.kill()
	for g := shard.GroupID(1); g <= 4; g++ {
		if r := c.put(g, "c"); r.Ack.Seq != 3 {
			t.Errorf("group %d: seq %d, want 3", g, r.Ack.Seq)
		}
	}
}

// TestTransferKeepsQueue: proposals during transfers are answered with success
// or with "in no log", never left open.
func TestTransferKeepsQueue(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	c.put(1, "first")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	accepted := map[string]bool{}
	for w := range 8 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				cmd := fmt.Sprintf("%d/%d", w, i)
				eventually(t, "an answer", func() bool {
					_, err := c.leader(1).propose(1, cmd)
					if err == nil {
						mu.Lock()
						accepted[cmd] = true
						mu.Unlock()
					}
					return err == nil || errors.Is(err, ErrAmbiguous)
				})
			}
		})
	}
	for range 6 {
		lead := c.leader(1)
		if err := lead.host.TransferLeadership(ctx, 1, ""); err != nil && chat.CodeOf(err) != chat.NotLeader {
			t.Logf("transfer: %v", err)
		}
	}
	close(stop)
	wg.Wait()
	rows := map[string]int{}
	lead := c.leader(1)
	if err := lead.host.ReadIndex(ctx, 1); err != nil {
		t.Fatalf("read: %v", err)
	}
	for _, r := range lead.rows(1) {
		rows[r]++
	}
	for cmd := range accepted {
		if rows[cmd] != 1 {
			t.Errorf("%s was acknowledged and is there %d times", cmd, rows[cmd])
		}
	}
}

func TestMembership(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.bootWith(1, []Server{{ID: "n1", Voter: true}})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for i := range 50 {
		c.put(1, fmt.Sprint(i))
	}
	h := c.nodes[0].host
	for _, id := range []shard.NodeID{"n2", "n3"} {
		if err := h.AddNonvoter(ctx, 1, id); err != nil {
			t.Fatalf("add %s: %v", id, err)
		}
		if err := h.Promote(ctx, 1, id); err != nil {
			t.Fatalf("promote %s: %v", id, err)
		}
	}
	c.same(1, 50)
	eventually(t, "three members in the status", func() bool {
		s, ok := h.Status(1)
		n := 0
		for _, p := range s.Peers {
			if p.Voter && p.Lag == 0 {
				n++
			}
		}
		return ok && n == 3
	})
	c.nodes[0].kill() // two of three go on
	c.put(1, "two")
	c.nodes[0].start(1)
	c.same(1, 51)
	lead := c.leader(1)
	out := c.others(lead)[0]
	if err := lead.host.RemoveServer(ctx, 1, out.id); err != nil {
		t.Fatalf("remove: %v", err)
	}
	if err := out.host.Remove(1); err != nil {
		t.Fatalf("wipe: %v", err)
	}
	if _, ok := out.host.Status(1); ok {
		t.Error("the removed replica still runs")
	}
	c.put(1, "rest")
	if servers, err := lead.host.Configuration(1); err != nil || len(servers) != 2 {
		t.Errorf("configuration = %v, %v", servers, err)
	}
}

func TestManyGroups(t *testing.T) {
	const groups = 32
	cfg := testConfig()
	cfg.Heartbeat = time.Second
	c := newCluster(t, 3, cfg)
	c.boot(groups)
	var wg sync.WaitGroup
	for g := shard.GroupID(1); g <= groups; g++ {
		wg.Go(func() {
			for i := range 5 {
				c.put(g, fmt.Sprint(i))
			}
		})
	}
	wg.Wait()
	for g := shard.GroupID(1); g <= groups; g++ {
		c.same(g, 5)
	}
}

// TestPartition: the leader that was cut off answers nothing it cannot keep, the
// majority goes on, and all agree when the wire is whole again.
func TestPartition(t *testing.T) {
	c := newCluster(t, 3, calmConfig())
	c.boot(1)
	c.put(1, "a")
	old := c.leader(1)
	c.isolate(old.id, true)
	ch := make(chan error, 1)
	old.host.Propose(1, command("lost?"), func(_ fsm.Result, err error) { ch <- err })
	var next *member
	eventually(t, "another leader", func() bool {
		for _, m := range c.others(old) {
			if m.host.IsLeader(1) {
				next = m
				return true
			}
		}
		return false
	})
	if _, err := next.propose(1, "b"); err != nil {
		t.Fatalf("propose at the majority: %v", err)
	}
	if err := <-ch; err == nil {
		t.Error("the minority acknowledged a proposal")
	}
	eventually(t, "the old leader to notice", func() bool { return !old.host.IsLeader(1) })
	if err := old.host.ReadIndex(context.Background(), 1); err == nil {
		t.Error("the minority confirmed a read")
	}
	c.isolate(old.id, false)
	c.put(1, "c")
	c.same(1, 3)
}

// TestPreVote: a node that comes back from isolation does not raise the term.
func TestPreVote(t *testing.T) {
	c := newCluster(t, 3, calmConfig())
	c.boot(1)
	c.put(1, "a")
	lead := c.leader(1)
	out := c.others(lead)[0]
	before, _ := lead.host.Status(1)
	c.isolate(out.id, true)
	eventually(t, "the isolated node to stand for election", func() bool {
		s, _ := out.host.Status(1)
		return s.State == "candidate"
	})
	for i := range 5 {
		c.put(1, fmt.Sprint(i))
	}
	c.isolate(out.id, false)
	c.same(1, 6)
	if after, _ := lead.host.Status(1); after.Term != before.Term || after.State != "leader" {
		t.Errorf("term %d as %s, want %d as leader", after.Term, after.State, before.Term)
	}
}

func TestMachineErrorHaltsLoudly(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	c.boot(1)
	c.put(1, "a")
	m := c.nodes[0]
	m.bad.Store(true)
	if _, err := m.propose(1, "b"); !errors.Is(err, ErrAmbiguous) {
		t.Errorf("propose = %v, want an ambiguous error", err)
	}
	select {
	case err := <-m.fatal:
		if chat.CodeOf(err) != chat.UnknownType {
			t.Errorf("fatal = %v", err)
		}
	case <-time.After(patience):
		t.Fatal("nobody was told")
	}
	m.bad.Store(false)
	if _, err := m.propose(1, "c"); err == nil {
		t.Error("a halted group acknowledged a proposal")
	}
}

type eventSink struct {
	mu   sync.Mutex
	seqs []chat.Seq
}

func (s *eventSink) Appended(e *chat.Entry, _ fsm.MemberView) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seqs = append(s.seqs, e.Seq)
}

// TestSinkWhileLeading: every entry of the own term reaches the leader's sink,
// and none a follower's.
func TestSinkWhileLeading(t *testing.T) {
	c := newCluster(t, 3, calmConfig())
	sinks := map[shard.NodeID]*eventSink{}
	for _, m := range c.nodes {
		s := new(eventSink)
		sinks[m.id] = s
		m.sinks = func(shard.GroupID) fsm.Sink { return s }
	}
	c.boot(1)
	lead := c.leader(1)
	for i := range 10 {
		if _, err := lead.propose(1, fmt.Sprint(i)); err != nil {
			t.Skipf("leadership moved: %v", err)
		}
	}
	c.same(1, 10)
	for id, s := range sinks {
		s.mu.Lock()
		n := len(s.seqs)
		s.mu.Unlock()
		if want := map[bool]int{true: 10, false: 0}[id == lead.id]; n != want {
			t.Errorf("sink of %s has %d events, want %d", id, n, want)
		}
	}
}

// TestIdleGroupHasNoLag: entries that no machine sees count as applied.
func TestIdleGroupHasNoLag(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	c.put(1, "a")
	for range 2 { // with the first entries of a leader at the end, too
		eventually(t, "every replica to have applied all", func() bool {
			for _, m := range c.nodes {
				if s, ok := m.host.Status(1); !ok || s.Last == 0 || s.Applied != s.Last || s.Applied < m.host.Applied(1) {
					return false
				}
			}
			return true
		})
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_ = c.leader(1).host.TransferLeadership(ctx, 1, "") // a busy machine may refuse it
		cancel()
	}
}

// TestReturnedFollowerGetsAll: what a follower has missed comes with the first
// requests after its return, not with one small request per CommitTimeout.
func TestReturnedFollowerGetsAll(t *testing.T) {
	cfg := calmConfig()
	cfg.CommitTimeout = patience // nothing but the return moves the replication on
	c := newCluster(t, 3, cfg)
	c.boot(1)
	c.put(1, "first")
	lead := c.leader(1)
	away := c.others(lead)[0]
	away.kill()
	for i := range 4 * appendEntriesMax {
		c.put(1, fmt.Sprint(i))
	}
	away.start(1)
	eventually(t, "the follower to have the whole log", func() bool {
		s, _ := c.leader(1).host.Status(1)
		got, _ := away.host.Status(1)
		return got.Last >= s.Last
	})
}
