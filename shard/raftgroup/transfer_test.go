package raftgroup

import (
	"context"
	"testing"
	"time"

	"github.com/chatnode/chatnode/chat"
)

// A transfer to a voter that does not take the entries that it lacks ends in vain, and
// the group goes on without it.
func TestTransferInVain(t *testing.T) {
	for name, fail := range map[string]func(m *member, disk *heldLog){
		"to one whose process ended": func(m *member, _ *heldLog) { m.kill() },
		"to one whose disk hangs":    func(_ *member, disk *heldLog) { disk.hold() },
	} {
		t.Run(name, func(t *testing.T) {
			c, disks := heldCluster(t, 3)
			c.cfg.Heartbeat, c.cfg.SlowWrite, c.cfg.StuckWrite = 500*time.Millisecond, time.Hour, time.Hour
			c.boot(1)
			c.put(1, "before")
			c.same(1, 1)
			lead := c.leader(1)
			to := c.others(lead)[0]
			fail(to, disks[to.id])
			defer disks[to.id].release()
			c.put(1, "meanwhile")
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for range 2 {
				if err := lead.host.TransferLeadership(ctx, 1, to.id); chat.CodeOf(err) != chat.Unavailable {
					t.Fatalf("transfer: %v, want unavailable", err)
				}
			}
			if c.put(1, "after"); c.leader(1) != lead {
				t.Error("somebody else leads")
			}
		})
	}
}
