package raftgroup

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/pebblelog"
)

// logKinds are the logs that a node can have, each with its directory.
func logKinds() map[string]func(*testing.T, *cluster) {
	return map[string]func(*testing.T, *cluster){
		"log":  func(*testing.T, *cluster) {},
		"bolt": func(_ *testing.T, c *cluster) { c.cfg.BoltDir, c.cfg.BoltAll = "bolt", true },
		"pebble": func(t *testing.T, c *cluster) {
			t.Helper()
			c.wrap = func(id shard.NodeID, l store.Log) store.Log {
				for _, m := range c.nodes {
					if m.id != id {
						continue
					}
					p, err := pebblelog.Open(filepath.Join(m.dir, "pebble"), pebblelog.Options{})
					if err = errors.Join(err, l.Close()); err != nil {
						t.Fatal(err)
					}
					return p
				}
				return l
			}
		},
	}
}

// TestWipedLogRefuses: a voter whose log is gone does not start, although its
// state has all that was applied: its votes and what it acknowledged beyond are
// gone. With its log back it starts again.
func TestWipedLogRefuses(t *testing.T) {
	for dir, use := range logKinds() {
		t.Run(dir, func(t *testing.T) {
			c := newCluster(t, 3, testConfig())
			use(t, c)
			c.boot(1)
			c.fill(1, 20, "a")
			c.same(1, 20)
			for _, m := range c.nodes[:2] { // the founder and one that joined
				m.kill()
				path := filepath.Join(m.dir, dir)
				if err := os.Rename(path, path+".away"); err != nil {
					t.Fatal(err)
				}
				for range 2 { // and a second try changes nothing
					if err := m.tryStart(1); !errors.Is(err, store.ErrPromise) {
						t.Errorf("%s without its log: %v", m.id, err)
					}
					m.kill()
				}
				err := errors.Join(os.RemoveAll(path), os.Rename(path+".away", path))
				if err != nil {
					t.Fatal(err)
				}
				m.start(1)
			}
			c.put(1, "last")
			c.same(1, 21)
		})
	}
}

// TestEmptiedLogStarts: a log without entries is fine where the replica deleted
// them itself, as it does when an install has covered them.
func TestEmptiedLogStarts(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	c.boot(1)
	c.fill(1, 20, "a")
	m := c.nodes[0]
	gr := m.host.group(1)
	if err := gr.machine.state.Barrier(); err != nil {
		t.Fatal(err)
	}
	m.kill()
	emptyLog(t, m)
	m.start(1)
	c.put(1, "after")
	c.same(1, 21)
}

// emptyLog deletes all entries of group 1 at a node that does not run.
func emptyLog(t *testing.T, m *member) {
	t.Helper()
	log, err := openTestLog(t, m)
	if err != nil {
		t.Fatal(err)
	}
	gl, err := log.Group(1)
	if err == nil {
		err = gl.DeleteRange(gl.FirstIndex(), gl.LastIndex())
	}
	if err := errors.Join(err, log.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestRemovedReplicaReturns: a replica that was removed makes no promise any
// more, and begins anew with another mark.
func TestRemovedReplicaReturns(t *testing.T) {
	c := newCluster(t, 1, testConfig())
	c.boot(1)
	m := c.nodes[0]
	before, ok := m.place.Promise(1)
	if !ok || before.Mark == 0 || !before.Voter {
		t.Fatalf("promise %+v", before)
	}
	if err := m.host.Remove(1); err != nil {
		t.Fatal(err)
	}
	if p, ok := m.place.Promise(1); ok {
		t.Errorf("a removed replica still promises %+v", p)
	}
	if err := m.host.Start(1); err != nil {
		t.Fatal(err)
	}
	if p, _ := m.place.Promise(1); p.Mark == 0 || p.Mark == before.Mark || p.Voter {
		t.Errorf("the new replica promises %+v, the one before %+v", p, before)
	}
}

// TestVoterBySnapshot: a node that was made a voter while it was away learns of it
// by a snapshot, and the entry that says so never reaches its log. Its promise is on
// record all the same: without its log it is refused.
func TestVoterBySnapshot(t *testing.T) {
	c := newCluster(t, 3, testConfig())
	c.bootWith(1, []Server{{ID: "n1", Voter: true}, {ID: "n2", Voter: true}})
	late := c.nodes[2]
	late.kill()
	c.put(1, "first")
	eventually(t, "a voter more", func() bool {
		r := c.leader(1).host.group(1).raft.Load()
		return r.AddVoter(raft.ServerID(late.id), raft.ServerAddress(late.id), 0, patience).Error() == nil
	})
	c.fill(1, 50, "a")
	n := len(c.leader(1).rows(1))
	for _, m := range c.nodes[:2] {
		eventually(t, "all rows", func() bool { return len(m.rows(1)) == n })
		m.cut(t, 1)
	}
	installed := make(chan struct{}, 8)
	c.deps = func(_ *member, d *Deps) {
		d.Metrics.Installed = func(shard.GroupID, int64) { installed <- struct{}{} }
	}
	late.start(1)
	<-installed
	if p, _ := late.place.Promise(1); !p.Voter {
		t.Errorf("installed as a voter, promised %+v", p)
	}
	c.put(1, "last")
	eventually(t, "the last row", func() bool { rows := late.rows(1); return len(rows) > 0 && rows[len(rows)-1] == "last" })

	// What a version before left: the state says voter, the promise does not.
	late.host.Stop(1)
	before, _ := late.place.Promise(1)
	if err := late.place.Forget(1); err != nil {
		t.Fatal(err)
	}
	if err := late.place.SetPromise(1, store.Promise{Mark: before.Mark}); err != nil {
		t.Fatal(err)
	}
	if err := late.host.Start(1); err != nil {
		t.Fatal(err)
	}
	if p, _ := late.place.Promise(1); !p.Voter {
		t.Errorf("started as a voter, promised %+v", p)
	}
	late.kill()
	path := filepath.Join(late.dir, "log")
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
	if err := late.tryStart(1); !errors.Is(err, store.ErrPromise) {
		t.Errorf("without its log: %v", err)
	}
}
