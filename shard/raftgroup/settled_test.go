package raftgroup

import (
	"context"
	"testing"
)

// Raft goes by a configuration from the moment that it is appended. Who decides by it
// what a node may forget has to wait until it is committed.
func TestConfigurationIsSettledWhenItIsCommitted(t *testing.T) {
	c, disks := heldCluster(t, 3)
	c.boot(1)
	c.put(1, "before")
	c.same(1, 1)
	lead := c.leader(1)
	others := c.others(lead)
	if s, _ := lead.host.Status(1); len(s.Peers) != 3 || !s.Settled {
		t.Fatalf("%d members, settled %v, want 3 of a settled configuration", len(s.Peers), s.Settled)
	}
	for _, m := range others {
		disks[m.id].hold()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- lead.host.RemoveServer(ctx, 1, others[0].id) }()
	eventually(t, "two members", func() bool {
		s, _ := lead.host.Status(1)
		if len(s.Peers) == 2 && s.Settled {
			t.Fatal("a configuration that no other disk has is settled")
		}
		return len(s.Peers) == 2
	})
	for _, m := range others {
		disks[m.id].release()
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "a settled configuration", func() bool {
		s, _ := lead.host.Status(1)
		return len(s.Peers) == 2 && s.Settled
	})
}
