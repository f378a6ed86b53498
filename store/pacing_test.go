package store

import (
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// TestPace: merged tables get their bytes a second, and all that the disk takes as
// soon as reads would suffer.
func TestPace(t *testing.T) {
	layers, asked := 0, 0
	p := &pacer{layers: func() int { asked++; return layers }}
	now := int64(time.Hour)
	const block = 64 << 10
	write := func(bytes int) (took time.Duration) {
		start := now
		for ; bytes > 0; bytes -= block {
			now += int64(max(0, p.book(block, now)))
		}
		return time.Duration(now - start)
	}
	if took := write(2 * paceBytes); took < 1900*time.Millisecond || took > 2100*time.Millisecond {
		t.Errorf("the bytes of two seconds took %v", took)
	}
	if asked < 4 || asked > 10 {
		t.Errorf("in two seconds it looked %d times, want once in %v", asked, paceLook)
	}
	now += int64(time.Hour)
	if took, most := write(paceBytes), time.Second+10*time.Millisecond; took < time.Second-2*paceBurst || took > most {
		t.Errorf("after an hour of nothing the bytes of a second took %v", took)
	}
	layers = paceLayers
	now += int64(paceLook)
	if took := write(100 * paceBytes); took != 0 {
		t.Errorf("with %d tables over each other merging waited for %v", layers, took)
	}
	layers = paceLayers - 1
	now += int64(paceLook)
	if took := write(paceBytes); took < time.Second-2*paceBurst {
		t.Errorf("after that the bytes of a second took %v", took)
	}
}

// TestOnlyMergesArePaced: a flush holds batches up, and must not wait.
func TestOnlyMergesArePaced(t *testing.T) {
	fs := pacedFS{vfs.NewMem(), &pacer{layers: func() int { return 0 }}}
	for category, want := range map[vfs.DiskWriteCategory]bool{
		mergeCategory: true, "pebble-memtable-flush": false, vfs.WriteCategoryUnspecified: false,
	} {
		f, err := fs.Create("x", category)
		if err != nil {
			t.Fatal(err)
		}
		if _, paced := f.(pacedFile); paced != want {
			t.Errorf("%s is paced: %v, want %v", category, paced, want)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
