package store_test

import (
	"sync/atomic"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/store"
)

// watchedFS counts the files that are made to merge tables into.
type watchedFS struct {
	vfs.FS
	merges *atomic.Int64
}

func (f watchedFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if category == store.MergeCategory {
		f.merges.Add(1)
	}
	return f.FS.Create(name, category)
}

// TestMergesGoByTheirName: the engine's name for what compactions write is not in
// its documents, and pacing rests on it.
func TestMergesGoByTheirName(t *testing.T) {
	var merges atomic.Int64
	s := openState(t, t.TempDir(), store.StateOptions{FS: watchedFS{vfs.Default, &merges}})
	g := group(t, s, 1)
	for i := range uint64(3) {
		put(t, g, i+1, map[int]string{1: "a", 2 + int(i): "b", 99: "c"})
		if err := g.Barrier(); err != nil {
			t.Fatal(err)
		}
	}
	if n := merges.Load(); n != 0 {
		t.Errorf("%d tables were merged before anyone asked", n)
	}
	if err := store.Merge(s); err != nil {
		t.Fatal(err)
	}
	if merges.Load() == 0 {
		t.Errorf("no file was made for %q", store.MergeCategory)
	}
	if diff := len(viewRows(t, g)); diff != 5 {
		t.Errorf("%d rows, want 5", diff)
	}
}
