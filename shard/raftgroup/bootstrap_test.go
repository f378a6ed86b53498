package raftgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

var errKilled = errors.New("killed")

// killPoint lets a number of durable writes pass, reports the last of them as failed,
// and refuses all that follow: nothing after it is on disk, as after kill -9.
type killPoint struct {
	mu   sync.Mutex
	left int
}

func (k *killPoint) do(write func() error) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.left == 0 {
		return errKilled
	}
	k.left--
	if err := write(); err != nil {
		return err
	}
	if k.left == 0 {
		return errKilled
	}
	return nil
}

type killedLog struct {
	store.Log
	k *killPoint
}

func (l killedLog) Group(g shard.GroupID) (store.GroupLog, error) {
	gl, err := l.Log.Group(g)
	return killedGroup{gl, l.k}, err
}

type killedGroup struct {
	store.GroupLog
	k *killPoint
}

func (g killedGroup) Set(key, val []byte) error {
	return g.k.do(func() error { return g.GroupLog.Set(key, val) })
}

func (g killedGroup) Append(entries []store.LogEntry) error {
	return g.k.do(func() error { return g.GroupLog.Append(entries) })
}

type killedPromises struct {
	Promises
	k *killPoint
}

func (p killedPromises) SetPromise(g shard.GroupID, x store.Promise) error {
	return p.k.do(func() error { return p.Promises.SetPromise(g, x) })
}

// found is what the founder of a group does at every start.
func (m *member) found(g shard.GroupID) error {
	if err := m.host.Bootstrap(g, []Server{{ID: m.id, Voter: true}}); err != nil {
		return err
	}
	return m.host.Start(g)
}

// TestBootstrapIsCompleted kills the founder after each write of the bootstrap.
// The next start completes it, and later ones change nothing.
func TestBootstrapIsCompleted(t *testing.T) {
	for i, write := range []string{"mark", "term", "promise", "entry"} {
		t.Run(write, func(t *testing.T) {
			c := newCluster(t, 1, testConfig())
			m := c.nodes[0]
			k := &killPoint{left: i + 1}
			c.wrap = func(_ shard.NodeID, l store.Log) store.Log { return killedLog{l, k} }
			c.deps = func(_ *member, d *Deps) { d.Promises = killedPromises{d.Promises, k} }
			m.start()
			err := m.found(1)
			if k.left != 0 || err == nil {
				t.Fatalf("%d writes left, %v", k.left, err)
			}
			if err := <-m.fatal; !errors.Is(err, errKilled) {
				t.Fatalf("the process ended by %v", err)
			}
			m.kill()
			c.wrap, c.deps = nil, nil
			for n := range 2 {
				m.start()
				if err := m.found(1); err != nil {
					t.Fatalf("start %d after the kill: %v", n+1, err)
				}
				if err := m.found(1); err != nil {
					t.Fatalf("again, while it runs: %v", err)
				}
				c.put(1, fmt.Sprint(n))
				c.same(1, n+1)
				m.kill()
			}
		})
	}
}

// TestBootstrapAgain asks for a bootstrap where the group has been before.
func TestBootstrapAgain(t *testing.T) {
	gone := func(t *testing.T, m *member, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if err := os.RemoveAll(filepath.Join(m.dir, p)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name   string
		damage func(*testing.T, *member)
		want   error
	}{
		{"as it was", func(*testing.T, *member) {}, nil},
		{"log emptied by its own node", emptyLog, nil},
		{"log gone", func(t *testing.T, m *member) { t.Helper(); gone(t, m, "log") }, store.ErrPromise},
		{"log and state gone", func(t *testing.T, m *member) { t.Helper(); gone(t, m, "log", "state") }, store.ErrPromise},
		{"entries and state gone", func(t *testing.T, m *member) { t.Helper(); emptyLog(t, m); gone(t, m, "state") }, store.ErrPromise},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, 1, testConfig())
			m := c.nodes[0]
			m.start()
			if err := m.found(1); err != nil {
				t.Fatal(err)
			}
			c.put(1, "before")
			if err := m.host.group(1).machine.state.Barrier(); err != nil {
				t.Fatal(err)
			}
			m.kill()
			tt.damage(t, m)
			m.start()
			for range 2 { // and a second try changes nothing
				if err := m.found(1); !errors.Is(err, tt.want) {
					t.Fatalf("bootstrap again = %v, want %v", err, tt.want)
				}
			}
			if tt.want != nil {
				gl, err := m.logs.Group(1)
				if err != nil || gl.LastIndex() != 0 {
					t.Errorf("the refused log ends at %d, %v", gl.LastIndex(), err)
				}
				return
			}
			c.put(1, "after")
			c.same(1, 2)
		})
	}
}

// TestBootstrapOfWaitingReplica: a replica that waits to be added is not begun.
func TestBootstrapOfWaitingReplica(t *testing.T) {
	m := newCluster(t, 1, testConfig()).nodes[0]
	m.start(1)
	if err := m.found(1); err == nil {
		t.Error("a replica that runs was bootstrapped")
	}
	for _, servers := range [][]Server{{{ID: "n2", Voter: true}}, {{ID: m.id}}, {{ID: m.id, Voter: true}, {ID: m.id, Voter: true}}} {
		if err := m.host.Bootstrap(2, servers); err == nil {
			t.Errorf("bootstrapped with %v", servers)
		}
	}
}
