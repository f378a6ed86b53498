package pebblelog_test

import (
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/pebblelog"
)

// TestOpenNoticesFailedReads fails one read of a table after the other while a log is
// opened: it opens as it was or not at all, never as a shorter one.
func TestOpenNoticesFailedReads(t *testing.T) {
	const groups, entries = 3, 100
	mem := vfs.NewMem()
	l, err := pebblelog.Open("log", pebblelog.Options{FS: mem})
	if err != nil {
		t.Fatal(err)
	}
	for id := shard.GroupID(1); id <= groups; id++ {
		g, err := l.Group(id)
		if err != nil {
			t.Fatal(err)
		}
		for i := uint64(1); i <= entries; i++ {
			if err := g.Append([]store.LogEntry{{Index: i, Term: 1, Data: make([]byte, 1<<10)}}); err != nil {
				t.Fatal(err)
			}
		}
		if err := g.Set([]byte("term"), []byte{1}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	// What Pebble has in its own log becomes a table when it opens.
	if l, err = pebblelog.Open("log", pebblelog.Options{FS: mem}); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for n, more := int64(1), true; more; n++ {
		more = openFailing(t, mem, n, groups, entries)
		if n > 1000 {
			t.Fatal("opening never ends to read")
		}
	}
}

// openFailing opens the log while the read number n of a table fails, and reports
// whether there were as many.
func openFailing(t *testing.T, mem vfs.FS, n int64, groups int, entries uint64) bool {
	t.Helper()
	own := vfs.NewMem()
	if ok, err := vfs.Clone(mem, own, "log", "log"); !ok || err != nil {
		t.Fatalf("Clone = %v, %v", ok, err)
	}
	var reads atomic.Int64
	fs := errorfs.Wrap(own, errorfs.InjectorFunc(func(op errorfs.Op) error {
		if op.Kind == errorfs.OpFileReadAt && strings.HasSuffix(op.Path, ".sst") && loading() && reads.Add(1) == n {
			return syscall.EIO
		}
		return nil
	}))
	l, err := pebblelog.Open("log", pebblelog.Options{FS: fs, CacheBytes: 1})
	if err != nil {
		return true
	}
	failed := reads.Load() >= n
	if got := len(l.Groups()); got != groups {
		t.Errorf("read %d failed: opened with %d groups, want %d", n, got, groups)
	}
	for _, id := range l.Groups() {
		g, err := l.Group(id)
		if err != nil {
			t.Fatal(err)
		}
		if first, last := g.FirstIndex(), g.LastIndex(); first != 1 || last != entries {
			t.Errorf("read %d failed: group %d opened with entries %d to %d, want 1 to %d", n, id, first, last, entries)
		}
	}
	if err := l.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	return failed
}

// loading reports whether it is called by what opens a log, not by a goroutine of
// Pebble's own, which looks at tables at the same time.
func loading() bool {
	var stack [64]uintptr
	frames := runtime.CallersFrames(stack[:runtime.Callers(1, stack[:])])
	for {
		f, more := frames.Next()
		if strings.Contains(f.Function, "pebblelog.(*pebbleLog).load") {
			return true
		}
		if !more {
			return false
		}
	}
}
