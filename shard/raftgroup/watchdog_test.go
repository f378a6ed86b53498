package raftgroup

import (
	"testing"
	"time"

	"github.com/chatnode/chatnode/fsm"
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
