package raftgroup

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

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
	m.start(1)
	c.put(1, "after")
	c.same(1, 21)
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
