package raftgroup

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// held is a state machine that stands still until it is let go.
type held struct{ begun, free chan struct{} }

func (h held) Apply(*raft.Log) any {
	select {
	case h.begun <- struct{}{}:
	default:
	}
	<-h.free
	return nil
}
func (held) Snapshot() (raft.FSMSnapshot, error) { return nil, errors.New("none") }
func (held) Restore(r io.ReadCloser) error       { return r.Close() }

// TestEndWith: what Raft would leave unanswered ends with its instance.
func TestEndWith(t *testing.T) {
	c := raft.DefaultConfig()
	c.LocalID, c.LogLevel = "n1", "ERROR"
	c.HeartbeatTimeout, c.ElectionTimeout, c.LeaderLeaseTimeout = 50*time.Millisecond, 50*time.Millisecond, 50*time.Millisecond
	notify := make(chan bool, 8)
	c.NotifyCh = notify
	logs, snaps := raft.NewInmemStore(), raft.NewInmemSnapshotStore()
	addr, trans := raft.NewInmemTransport("")
	servers := raft.Configuration{Servers: []raft.Server{{ID: "n1", Address: addr}}}
	if err := raft.BootstrapCluster(c, logs, logs, snaps, trans, servers); err != nil {
		t.Fatal(err)
	}
	fsm := held{begun: make(chan struct{}, 1), free: make(chan struct{})}
	r, err := raft.NewRaft(c, fsm, logs, logs, snaps, trans)
	if err != nil {
		t.Fatal(err)
	}
	for lead := range notify {
		if lead {
			break
		}
	}
	gone := make(chan struct{})
	first := endWith(r.Apply([]byte("stands still"), 0), gone)
	<-fsm.begun
	waits := endWith(r.Barrier(0), gone)
	close(gone)
	for name, f := range map[string]raft.Future{"apply": first, "barrier": waits} {
		if err := f.Error(); !errors.Is(err, raft.ErrRaftShutdown) {
			t.Errorf("%s = %v, want %v", name, err, raft.ErrRaftShutdown)
		}
	}
	close(fsm.free)
	if err := r.Shutdown().Error(); err != nil {
		t.Error(err)
	}
	if err := endWith(r.Apply([]byte("late"), 0), gone).Error(); !errors.Is(err, raft.ErrRaftShutdown) {
		t.Errorf("apply after the end = %v, want %v", err, raft.ErrRaftShutdown)
	}
}
