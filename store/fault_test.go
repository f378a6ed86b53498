package store_test

import (
	"os"
	"os/exec"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/chatnode/chatnode/store"
)

// TestStateDiskError fails every write and sync from some moment on: the owner
// is told once, and nothing claims to be committed or durable afterwards. It
// runs in a process of its own, since the engine does not end after that.
func TestStateDiskError(t *testing.T) {
	const child = "STORE_TEST_DISK_ERROR"
	if os.Getenv(child) != "" {
		failDisk(t)
		if t.Failed() {
			os.Exit(1)
		}
		os.Exit(0)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestStateDiskError$", "-test.v") //nolint:gosec // this test
	cmd.Env = append(os.Environ(), child+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

func failDisk(t *testing.T) {
	t.Helper()
	for _, buffer := range []int64{1, 0} {
		for _, errno := range []error{syscall.EIO, syscall.ENOSPC} {
			var broken atomic.Bool
			mem := vfs.NewCrashableMem()
			fs := errorfs.Wrap(mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
				switch op.Kind {
				case errorfs.OpFileWrite, errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileFlush, errorfs.OpCreate:
					if broken.Load() {
						return errno
					}
				}
				return nil
			}))
			told := make(chan error, 10)
			s, err := store.OpenState("state", store.StateOptions{
				FS: fs, BufferBytes: buffer, OnFatal: func(err error) { told <- err },
			})
			if err != nil {
				t.Fatal(err)
			}
			g := group(t, s, 1)
			put(t, g, 1, map[int]string{1: "good"})
			if err := g.Barrier(); err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			b := g.Begin()
			if err := b.Set(rowKey(1, 2), make([]byte, 64<<10)); err != nil {
				t.Fatal(err)
			}
			if err := b.Commit(2, 1); err == nil {
				err = g.Barrier()
				if err == nil {
					t.Fatalf("%v: Barrier succeeded", errno)
				}
			}
			select {
			case <-told:
			case <-time.After(time.Minute):
				t.Fatalf("%v: the owner was never told", errno)
			}
			if err := g.Begin().Commit(3, 1); err == nil {
				t.Errorf("%v: Commit afterwards succeeded", errno)
			}
			if err := g.Barrier(); err == nil {
				t.Errorf("%v: Barrier afterwards succeeded", errno)
			}
			broken.Store(false)
			_ = s.Close() // it may report what failed
			if len(told) > 0 {
				t.Errorf("%v: told twice", errno)
			}
			s, err = store.OpenState("state", store.StateOptions{FS: mem.CrashClone(vfs.CrashCloneCfg{})})
			if err != nil {
				t.Fatal(err)
			}
			g = group(t, s, 1)
			if index, _ := g.Applied(); index < 1 {
				t.Errorf("%v: applied %d after a restart", errno, index)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
