package raftgroup

import (
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// TestSlowWriteMovesLeaderships holds the disk of a leader: another node has to
// lead before the process is ended for it, and nothing gets lost or doubled.
func TestSlowWriteMovesLeaderships(t *testing.T) {
	c, disks := heldCluster(t, 3)
	c.cfg.SlowWrite = 100 * time.Millisecond
	c.boot(1)
	c.put(1, "before")
	c.same(1, 1)
	lead := c.leader(1)
	disks[lead.id].hold()
	answered := make(chan error, 1)
	lead.host.Propose(1, command("held"), func(_ fsm.Result, err error) { answered <- err })
	eventually(t, "another leader", func() bool {
		for _, m := range c.others(lead) {
			if m.host.IsLeader(1) {
				return true
			}
		}
		return false
	})
	c.put(1, "after")
	disks[lead.id].release()
	select {
	case <-answered: // appended or not: it was ambiguous for a while
	case <-time.After(patience):
		t.Error("the proposal that was held got no answer")
	}
	c.same(1, 2)
	for _, m := range c.nodes {
		select {
		case err := <-m.fatal:
			t.Errorf("%s ended: %v", m.id, err)
		default:
		}
	}
}

// TestStuckWriteEndsTheProcess holds the disk for ever, as far as it can tell.
func TestStuckWriteEndsTheProcess(t *testing.T) {
	c, disks := heldCluster(t, 1)
	c.cfg.SlowWrite, c.cfg.StuckWrite = 50*time.Millisecond, time.Second
	c.boot(1)
	c.put(1, "before")
	m := c.leader(1)
	disks[m.id].hold()
	m.host.Propose(1, command("held"), func(fsm.Result, error) {})
	select {
	case <-m.fatal:
	case <-time.After(patience):
		t.Fatal("the process goes on with a disk that hangs")
	}
}

// statsLog says that a write has been running for a while.
type statsLog struct {
	store.Log
	running time.Duration
}

func (l statsLog) Stats() store.LogStats { return store.LogStats{SyncRunning: l.running} }

// TestRunningSyncEndsTheProcess: a hanging write of the log counts also when no
// group waits for it.
func TestRunningSyncEndsTheProcess(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	c.wrap = func(_ shard.NodeID, l store.Log) store.Log { return statsLog{l, c.cfg.StuckWrite + 1} }
	m := c.nodes[0]
	m.start()
	select {
	case <-m.fatal:
	case <-time.After(patience):
		t.Fatal("the process goes on with a disk that hangs")
	}
}

// lookedLog calls a function in the middle of a look at its end.
type lookedLog struct {
	store.GroupLog
	last   uint64
	looked func()
}

func (l *lookedLog) LastIndex() uint64 {
	last, fn := l.last, l.looked
	if l.looked = nil; fn != nil {
		fn()
	}
	return last
}

func (l *lookedLog) DurableIndex() uint64 { return 1 }

func (l *lookedLog) Append(entries []store.LogEntry) error {
	l.last += uint64(len(entries))
	return nil
}

// TestWaitingIsSeen: an entry that is appended while the writer looks whether one
// is left waits for the disk, as far as the watchdog knows.
func TestWaitingIsSeen(t *testing.T) {
	log := &lookedLog{}
	s := newLogStore(log, "n1", func(err error) { t.Errorf("fatal: %v", err) })
	add := func(index uint64) {
		if err := s.append([]*raft.Log{{Index: index, Term: 1}}); err != nil {
			t.Error(err)
		}
	}
	add(1)
	log.looked = func() { add(2) }
	s.durable(1)
	if s.pending.Load() == 0 {
		t.Error("nothing waits, while the entry 2 does")
	}
	s.durable(2)
	if s.pending.Load() != 0 {
		t.Error("an entry waits, while all are durable")
	}
}
