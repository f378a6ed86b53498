package store_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/chatnode/chatnode/chat"
	"github.com/chatnode/chatnode/store"
)

func openDir(t *testing.T, path string) *store.Dir {
	t.Helper()
	d, err := store.OpenDir(path)
	if err != nil {
		t.Fatalf("OpenDir = %v", err)
	}
	return d
}

func TestDirLock(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	if _, err := store.OpenDir(path); !errors.Is(err, store.ErrLocked) {
		t.Errorf("second OpenDir = %v, want ErrLocked", err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := openDir(t, path).Close(); err != nil {
		t.Fatal(err)
	}
	file := t.TempDir() + "/file"
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := store.OpenDir(file); chat.CodeOf(err) != chat.Invalid {
		t.Errorf("OpenDir of a file = %v, want code invalid", err)
	}
}

func TestIdentityAndPromises(t *testing.T) {
	path := t.TempDir()
	d := openDir(t, path)
	if _, ok := d.Identity(); ok {
		t.Error("a new directory has an identity")
	}
	if err := errors.Join(d.Claim("c1", "n1"), d.Claim("c1", "n1")); err != nil {
		t.Fatalf("Claim = %v", err)
	}
	if err := d.Claim("c2", "n1"); !errors.Is(err, store.ErrIdentity) {
		t.Errorf("Claim for another cluster = %v, want ErrIdentity", err)
	}
	err := errors.Join(
		d.SetPromise(3, store.Promise{Voter: true, Term: 4, Index: 100, Mark: 7}),
		d.SetPromise(3, store.Promise{Term: 5, Index: 50, Mark: 8}), // lowers nothing
		d.SetPromise(4, store.Promise{Index: 1}),
		d.Forget(4), d.Close())
	if err != nil {
		t.Fatal(err)
	}
	d = openDir(t, path)
	id, _ := d.Identity()
	if want := (store.Identity{Cluster: "c1", Node: "n1", Format: store.FormatLevel}); id != want {
		t.Errorf("Identity = %+v, want %+v", id, want)
	}
	p, ok := d.Promise(3)
	if want := (store.Promise{Voter: true, Term: 5, Index: 100, Mark: 7}); !ok || p != want {
		t.Errorf("Promise = %+v, want %+v", p, want)
	}
	if _, ok := d.Promise(4); ok || len(d.Promised()) != 1 {
		t.Errorf("Promised = %v, want the one group", d.Promised())
	}
	for _, tt := range []struct {
		term, last uint64
		broken     bool
	}{{5, 100, false}, {9, 1000, false}, {5, 99, true}, {4, 100, true}, {0, 0, true}} {
		if err := p.Check(tt.term, tt.last); errors.Is(err, store.ErrPromise) != tt.broken {
			t.Errorf("Check(%d, %d) = %v", tt.term, tt.last, err)
		}
	}
	for mark, broken := range map[uint64]bool{7: false, 8: true, 0: true} {
		if err := p.CheckMark(mark); errors.Is(err, store.ErrPromise) != broken {
			t.Errorf("CheckMark(%d) = %v", mark, err)
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"identity", "promises"} { // every byte is checked
		file := path + "/" + name
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i := range b {
			b[i] ^= 1
			if err := os.WriteFile(file, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := store.OpenDir(path); !errors.Is(err, store.ErrCorrupt) {
				t.Fatalf("%s with byte %d damaged: OpenDir = %v, want ErrCorrupt", name, i, err)
			}
			b[i] ^= 1
		}
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestReserve(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var free atomic.Uint64
		free.Store(2000)
		r, err := store.NewReserve(store.ReserveConfig{
			BytesMin: 1000, Interval: time.Second,
			Free: func(string) (uint64, error) { return free.Load(), nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { r.Run(ctx); close(done) }()
		for _, tt := range []struct {
			free uint64
			full bool
		}{{1000, false}, {999, true}, {1000, true}, {1124, true}, {1125, false}, {0, true}} {
			free.Store(tt.free)
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if r.Full() != tt.full || r.Free() != tt.free {
				t.Errorf("with %d free: Full = %v, want %v", tt.free, r.Full(), tt.full)
			}
		}
		cancel()
		<-done
	})
	if n, err := store.FreeBytes(t.TempDir()); err != nil || n == 0 {
		t.Errorf("FreeBytes = %d, %v", n, err)
	}
}
