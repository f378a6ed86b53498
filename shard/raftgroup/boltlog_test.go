package raftgroup

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/storetest"
)

// boltFiles is a store.Log of one Bolt file per group, as the host keeps them,
// for the conformance suite.
type boltFiles struct {
	dir    string
	groups map[shard.GroupID]*boltLog
	closed bool
}

func openBoltFiles(tb testing.TB, dir string) *boltFiles {
	tb.Helper()
	f := &boltFiles{dir: dir, groups: map[shard.GroupID]*boltLog{}}
	names, err := filepath.Glob(filepath.Join(dir, "*.bolt"))
	if err != nil {
		tb.Fatal(err)
	}
	for _, n := range names {
		for g := range shard.GroupID(shard.GroupsMax) {
			if f.path(g) == n {
				if _, err := f.Group(g); err != nil {
					tb.Fatal(err)
				}
			}
		}
	}
	return f
}

func (f *boltFiles) path(g shard.GroupID) string {
	return BoltFile(f.dir, g)
}

func (f *boltFiles) Group(g shard.GroupID) (store.GroupLog, error) {
	if f.closed {
		return nil, store.ErrClosed
	}
	if b := f.groups[g]; b != nil {
		return b, nil
	}
	b, err := openBoltLog(f.path(g))
	if err != nil {
		return nil, err
	}
	f.groups[g] = b
	return b, nil
}

func (f *boltFiles) Groups() (out []shard.GroupID) {
	for g, b := range f.groups {
		_, err := b.Get([]byte("k"))
		if b.LastIndex() > 0 || err == nil {
			out = append(out, g)
		}
	}
	slices.Sort(out)
	return out
}

func (f *boltFiles) Drop(g shard.GroupID) error {
	if f.closed {
		return store.ErrClosed
	}
	b := f.groups[g]
	if b == nil {
		return nil
	}
	delete(f.groups, g)
	return errors.Join(b.Close(), removeBoltLog(f.path(g)))
}

// Stats has what the suite looks at: Bolt counts nothing of it.
func (f *boltFiles) Stats() (s store.LogStats) {
	for _, b := range f.groups {
		s.Appends += b.count
		s.Syncs += b.count
	}
	s.SyncTime, s.SyncMax = 1, 1
	return s
}

func (f *boltFiles) Close() error {
	f.closed = true
	var errs []error
	for _, b := range f.groups {
		errs = append(errs, b.Close())
	}
	return errors.Join(errs...)
}

func TestBoltLogConforms(t *testing.T) {
	storetest.RunLog(t, func(tb testing.TB) storetest.Opener {
		tb.Helper()
		dir := tb.TempDir()
		return func(tb testing.TB) store.Log {
			tb.Helper()
			return openBoltFiles(tb, dir)
		}
	})
}

// TestBoltGroups: the meta group on Bolt beside a group on the shared log.
func TestBoltGroups(t *testing.T) {
	cfg := testConfig()
	cfg.BoltDir = "set by the cluster"
	c := newCluster(t, 3, cfg)
	for i, m := range c.nodes {
		m.start()
		for _, g := range []shard.GroupID{shard.Meta, 1} {
			if i == 0 {
				servers := []Server{{ID: "n1", Voter: true}, {ID: "n2", Voter: true}, {ID: "n3", Voter: true}}
				if err := m.host.Bootstrap(g, servers); err != nil {
					t.Fatal(err)
				}
			}
			if err := m.host.Start(g); err != nil {
				t.Fatal(err)
			}
		}
	}
	c.put(shard.Meta, "m")
	c.put(1, "x")
	for _, m := range c.nodes {
		m.kill()
	}
	for _, m := range c.nodes {
		m.start(shard.Meta, 1)
	}
	c.put(shard.Meta, "n")
	c.same(shard.Meta, 2)
	c.put(1, "y")
	c.same(1, 2)
}

// TestBoltBoundsDoNotWait: how far a log is durable is asked on the loops that read what
// other nodes send, for all groups. It must not wait for a write.
func TestBoltBoundsDoNotWait(t *testing.T) {
	b, err := openBoltLog(filepath.Join(t.TempDir(), "log.bolt"))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.Append([]store.LogEntry{{Index: 1, Term: 1}}); err != nil {
		t.Fatal(err)
	}
	b.mu.Lock() // as a write does while the disk has it
	bounds := make(chan [3]uint64, 1)
	go func() { bounds <- [3]uint64{b.FirstIndex(), b.LastIndex(), b.DurableIndex()} }()
	var got [3]uint64
	select {
	case got = <-bounds:
	case <-time.After(10 * time.Second):
		t.Error("they wait for the write")
	}
	b.mu.Unlock()
	if got != [3]uint64{1, 1, 1} {
		t.Errorf("bounds %v", got)
	}
}
