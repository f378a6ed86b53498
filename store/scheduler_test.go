package store_test

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/store"
)

// gateFS holds up whoever makes a file to merge tables into, until it is opened.
type gateFS struct {
	vfs.FS
	reached chan struct{} // holds one
	open    chan struct{}
}

func newGateFS(fs vfs.FS) gateFS {
	return gateFS{fs, make(chan struct{}, 1), make(chan struct{})}
}

func (f gateFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category == store.MergeCategory {
		select {
		case f.reached <- struct{}{}:
		default:
		}
		<-f.open
	}
	return f.FS.Create(name, category)
}

const limit = 30 * time.Second

// within fails the test when ch gives nothing in time.
func within[T any](t *testing.T, ch <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(limit):
		t.Fatalf("waited too long until %s", what)
	}
	return v
}

// layered fills a group with more tables over each other than are left unmerged.
func layered(t *testing.T, s *store.State) {
	t.Helper()
	g := group(t, s, 1)
	for i := range uint64(store.L0Compact + 2) {
		put(t, g, i+1, map[int]string{1: "a", 2 + int(i): "b", 99: "c"})
		if err := g.Barrier(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOpenDoesNotWaitForMerging: a node that was killed with much to merge comes
// back at once, and merges then.
func TestOpenDoesNotWaitForMerging(t *testing.T) {
	mem := vfs.NewCrashableMem()
	before := newGateFS(mem)
	first := openState(t, "state", store.StateOptions{FS: before})
	layered(t, first)
	within(t, before.reached, "the tables are to be merged")
	killed := mem.CrashClone(vfs.CrashCloneCfg{})
	close(before.open)

	after := newGateFS(killed)
	opened := make(chan *store.State, 1)
	go func() {
		s, err := store.OpenState("state", store.StateOptions{FS: after})
		if err != nil {
			t.Error(err)
		}
		opened <- s
	}()
	s := within(t, opened, "the state is open")
	if s == nil {
		return
	}
	within(t, after.reached, "merging goes on")
	if rows := viewRows(t, group(t, s, 1)); len(rows) != store.L0Compact+4 {
		t.Errorf("%d rows while merging, want %d", len(rows), store.L0Compact+4)
	}
	close(after.open)
	if !store.AwaitLayers(s, store.L0Compact, limit) {
		t.Error("not everything was merged")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestMergesFollowEachOther: with one at a time, none that is due is left out.
func TestMergesFollowEachOther(t *testing.T) {
	gate := newGateFS(vfs.NewMem())
	s := openState(t, "state", store.StateOptions{FS: gate})
	layered(t, s)
	within(t, gate.reached, "the first merge begins")
	g := group(t, s, 1)
	for i := range uint64(2 * store.L0Compact) { // due while the first runs
		put(t, g, 100+i, map[int]string{1: "d", 200 + int(i): "e"})
		if err := g.Barrier(); err != nil {
			t.Fatal(err)
		}
	}
	close(gate.open)
	if !store.AwaitLayers(s, store.L0Compact, limit) {
		t.Error("not everything was merged")
	}
}
