package raftgroup

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/store"
)

// TestConflictBehindSnapshot: a replica's state is that of a snapshot, and what its
// log has behind it was never committed, and begins right there. A leader has to find
// out that both agree in the snapshot's last entry, which is in no log any more.
func TestConflictBehindSnapshot(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.boot(1)
	c.fill(1, 20, "a")
	c.same(1, 20)
	away := c.others(c.leader(1))[0]
	away.kill()
	away.behindSnapshot(t, 10)
	// The others go on in a later term.
	c.laterTerm(t)
	lead := c.leader(1)
	for _, m := range c.others(lead) {
		if m != away {
			m.kill() // the leader needs the one that was away
		}
	}
	away.start(1)
	c.put(1, "after")
	c.same(1, 21)
}

// behindSnapshot leaves a node that does not run with a log that begins behind its
// state, as after an install, with n entries of its last term that nobody else has.
func (m *member) behindSnapshot(t *testing.T, n uint64) {
	t.Helper()
	state, err := store.OpenState(m.dir+"/state", store.StateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	gs, err := state.Group(1)
	if err != nil {
		t.Fatal(err)
	}
	applied, term := gs.Applied()
	emptyLog(t, m)
	log, err := openTestLog(t, m)
	if err != nil {
		t.Fatal(err)
	}
	gl, err := log.Group(1)
	for i := applied + 1; err == nil && i <= applied+n; i++ {
		err = gl.Append([]store.LogEntry{{Index: i, Term: term, Type: uint8(raft.LogNoop)}})
	}
	if err := errors.Join(err, log.Close(), state.Close()); err != nil {
		t.Fatal(err)
	}
}
