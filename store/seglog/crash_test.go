package seglog_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
	"github.com/chatnode/chatnode/store/seglog"
	"github.com/chatnode/chatnode/store/storetest"
)

func small(fs seglog.FS) seglog.Options {
	return seglog.Options{SegmentBytes: 12 << 10, CacheBytes: 1, FS: fs}
}

func mustOpen(tb testing.TB, fs seglog.FS) store.Log {
	tb.Helper()
	l, err := seglog.Open("log", small(fs))
	if err != nil {
		tb.Fatalf("Open = %v", err)
	}
	return l
}

// survivor says whether a group's log after a power cut keeps the promises:
// what was durable is there, and the rest is a prefix of what was appended.
func survivor(g store.GroupLog, entries []store.LogEntry, durable uint64) error {
	if len(entries) == 0 {
		return nil
	}
	first, last := g.FirstIndex(), g.LastIndex()
	if last < durable {
		return fmt.Errorf("last index %d, durable was %d", last, durable)
	}
	if last == 0 {
		return nil
	}
	for i := range entries {
		e := &entries[i]
		if e.Index < first || e.Index > last || e.Index > durable {
			continue
		}
		var got store.LogEntry
		if err := g.Entry(e.Index, &got); err != nil {
			return fmt.Errorf("entry %d: %w", e.Index, err)
		}
		if got.Term != e.Term || string(got.Data) != string(e.Data) {
			return fmt.Errorf("entry %d of term %d differs from the one of term %d", e.Index, got.Term, e.Term)
		}
	}
	return nil
}

// cutDuring runs random operations, cuts the power at a random moment and
// checks what is left. It returns the first broken promise.
func cutDuring(t *testing.T, seed uint64, ignoreSync bool) error {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 1))
	fs := storetest.NewCrashFS()
	fs.IgnoreSync = ignoreSync
	l := mustOpen(t, fs)
	m := storetest.NewModel()
	for round := range 4 {
		for range 10 + rng.IntN(60) {
			m.Step(t, l, rng)
		}
		durable := make(map[shard.GroupID]uint64)
		for id := range shard.GroupID(4) {
			g, err := l.Group(id)
			if err != nil {
				t.Fatal(err)
			}
			// Durable first: the model does not change until the cut.
			durable[id] = g.DurableIndex()
		}
		after := fs.Cut(rng)
		if err := l.Close(); err != nil {
			t.Fatalf("seed %d: Close = %v", seed, err)
		}
		fs = after
		fs.IgnoreSync = ignoreSync
		var err error
		if l, err = seglog.Open("log", small(fs)); err != nil {
			return fmt.Errorf("round %d: %w", round, err)
		}
		next := storetest.NewModel()
		for id := range shard.GroupID(4) {
			g, err := l.Group(id)
			if err != nil {
				t.Fatal(err)
			}
			mg := m.Group(id)
			if err := survivor(g, mg.Entries, durable[id]); err != nil {
				return errors.Join(fmt.Errorf("round %d: group %d: %w", round, id, err), l.Close())
			}
			for k, want := range mg.Stable {
				if got, err := g.Get([]byte(k)); err != nil || string(got) != want {
					return errors.Join(fmt.Errorf("round %d: group %d: %s = %q, %w, want %q", round, id, k, got, err, want), l.Close())
				}
			}
			// The log goes on from what is there.
			n := next.Group(id)
			for i := g.FirstIndex(); i != 0 && i <= g.LastIndex(); i++ {
				var e store.LogEntry
				if err := g.Entry(i, &e); err != nil {
					t.Fatalf("seed %d: Entry = %v", seed, err)
				}
				n.Entries = append(n.Entries, e)
			}
			for _, k := range []string{"k0", "k1", "k2"} {
				if v, err := g.Get([]byte(k)); err == nil {
					n.Stable[k] = string(v)
				}
			}
		}
		m = next
	}
	return l.Close()
}

func TestPowerCut(t *testing.T) {
	for seed := range uint64(100) {
		if err := cutDuring(t, seed, false); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// TestPowerCutControl shows that TestPowerCut can fail: without syncs it does.
func TestPowerCutControl(t *testing.T) {
	for seed := range uint64(50) {
		if err := cutDuring(t, seed, true); err != nil {
			t.Logf("seed %d: %v", seed, err)
			return
		}
	}
	t.Fatal("no promise was broken although nothing was ever synced")
}

// writeSmall makes a log of a few segments and groups, closed.
func writeSmall(t *testing.T, n int) (*storetest.CrashFS, map[shard.GroupID][]store.LogEntry) {
	t.Helper()
	fs := storetest.NewCrashFS()
	l := mustOpen(t, fs)
	want := make(map[shard.GroupID][]store.LogEntry)
	for round := range uint64(3) {
		for id := range shard.GroupID(3) {
			g, err := l.Group(id)
			if err != nil {
				t.Fatal(err)
			}
			entries := storetest.Entries(round*uint64(n)+1, 1+round, n)
			if err := g.Append(entries); err != nil {
				t.Fatal(err)
			}
			want[id] = append(want[id], entries...)
			if err := g.Set([]byte("vote"), fmt.Appendf(nil, "%d", round)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, want
}

// TestDamage flips every byte of a closed log in turn. Either Open refuses, or
// everything is as it was written.
func TestDamage(t *testing.T) {
	fs, want := writeSmall(t, 20)
	refused, harmless := 0, 0
	for _, path := range fs.Paths() {
		if strings.Contains(path, "spare") {
			continue
		}
		content := fs.Bytes(path)
		for i := 0; i < len(content); i++ {
			if rest := content[i:min(i+64, len(content))]; !bytes.ContainsFunc(rest, func(r rune) bool { return r != 0 }) {
				i += 251 // unused zeros: a sample is enough
				if i >= len(content) {
					break
				}
			}
			hurt := fs.Clone()
			hurt.Bytes(path)[i] ^= 0x40
			l, err := seglog.Open("log", small(hurt))
			if err != nil {
				if !errors.Is(err, store.ErrCorrupt) {
					t.Fatalf("%s byte %d: Open = %v, want ErrCorrupt", path, i, err)
				}
				refused++
				continue
			}
			harmless++
			for id, entries := range want {
				g, err := l.Group(id)
				if err != nil {
					t.Fatal(err)
				}
				if err := survivor(g, entries, entries[len(entries)-1].Index); err != nil {
					t.Fatalf("%s byte %d: %v", path, i, err)
				}
				if v, err := g.Get([]byte("vote")); err != nil || string(v) != "2" {
					t.Fatalf("%s byte %d: vote = %q, %v", path, i, v, err)
				}
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
	t.Logf("%d refused, %d harmless", refused, harmless)
	if refused == 0 {
		t.Error("no damage was noticed")
	}
}

// TestMissingSegment takes whole files away.
func TestMissingSegment(t *testing.T) {
	fs, _ := writeSmall(t, 60)
	paths := slices.DeleteFunc(fs.Paths(), func(p string) bool { return strings.Contains(p, "spare") })
	if len(paths) < 3 {
		t.Fatalf("only %d segments", len(paths))
	}
	for _, path := range paths[:len(paths)-1] {
		hurt := fs.Clone()
		if err := hurt.Remove(path); err != nil {
			t.Fatal(err)
		}
		if _, err := seglog.Open("log", small(hurt)); !errors.Is(err, store.ErrCorrupt) {
			t.Errorf("without %s: Open = %v, want ErrCorrupt", path, err)
		}
	}
}

// TestDamageUnderWay damages a segment after Open: the read notices.
func TestDamageUnderWay(t *testing.T) {
	fs, _ := writeSmall(t, 60)
	l := mustOpen(t, fs)
	b := fs.Bytes(fs.Paths()[0])
	for i := 4096; i < len(b); i++ {
		b[i] ^= 1
	}
	g, err := l.Group(0)
	if err != nil {
		t.Fatal(err)
	}
	var e store.LogEntry
	if err := g.Entry(1, &e); !errors.Is(err, store.ErrCorrupt) {
		t.Errorf("Entry = %v, want ErrCorrupt", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}

var errDisk = errors.New("input/output error")

// TestDiskError fails one kind of operation: the owner is told once, nothing is
// taken afterwards, and what was durable is there after a restart.
func TestDiskError(t *testing.T) {
	for _, op := range []string{"write", "sync", "rename", "create", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			fs := storetest.NewCrashFS()
			var broken atomic.Bool
			fs.Fail = func(what, _ string) error {
				if what == op && broken.Load() {
					return errDisk
				}
				return nil
			}
			told := make(chan error, 10)
			o := small(fs)
			o.OnFatal = func(err error) { told <- err }
			l, err := seglog.Open("log", o)
			if err != nil {
				t.Fatal(err)
			}
			g, err := l.Group(1)
			if err != nil {
				t.Fatal(err)
			}
			good := storetest.Entries(1, 1, 20)
			if err := errors.Join(g.Append(good), g.WaitDurable(20)); err != nil {
				t.Fatal(err)
			}
			broken.Store(true)
			next := uint64(21)
			for err == nil && next < 5000 {
				if err = g.Append(storetest.Entries(next, 1, 20)); err == nil {
					next += 20
					err = g.WaitDurable(next - 1)
				}
			}
			if !errors.Is(err, errDisk) {
				t.Fatalf("error = %v, want the disk's", err)
			}
			if err := <-told; !errors.Is(err, errDisk) {
				t.Errorf("OnFatal got %v", err)
			}
			broken.Store(false) // a disk that comes back is not believed
			if err := g.Append(storetest.Entries(next, 1, 1)); !errors.Is(err, errDisk) {
				t.Errorf("Append afterwards = %v", err)
			}
			if err := g.Set([]byte("a"), nil); !errors.Is(err, errDisk) {
				t.Errorf("Set afterwards = %v", err)
			}
			durable := g.DurableIndex()
			if err := l.Close(); !errors.Is(err, errDisk) {
				t.Errorf("Close = %v", err)
			}
			if len(told) > 0 {
				t.Error("told twice")
			}
			l = mustOpen(t, fs)
			g, err = l.Group(1)
			if err != nil {
				t.Fatal(err)
			}
			if err := survivor(g, good, 20); err != nil || g.LastIndex() < durable {
				t.Errorf("after a restart: %v, last %d, durable %d", err, g.LastIndex(), durable)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}
