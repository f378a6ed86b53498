package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

func rowKey(g shard.GroupID, n int) []byte {
	return fmt.Appendf(fsm.AppendPrefix(nil, uint32(g), fsm.AreaConv), "%03d", n)
}

// rowNumber takes such a key as a number as a whole.
func rowNumber(key []byte) (uint64, bool) {
	if len(key) != 8 || key[fsm.GroupBytes] != fsm.AreaConv {
		return 0, false
	}
	return binary.BigEndian.Uint64(key), true
}

// rows reads everything a reader shows of a group.
func rows(tb testing.TB, r fsm.Reader, g shard.GroupID, reverse bool) []string {
	tb.Helper()
	var got []string
	err := r.Scan(fsm.AppendPrefix(nil, uint32(g), 0), fsm.AppendPrefix(nil, uint32(g)+1, 0), reverse,
		func(k, v []byte) (bool, error) {
			got = append(got, fmt.Sprintf("%s=%s", k[fsm.GroupBytes+1:], v))
			return true, nil
		})
	if err != nil {
		tb.Fatalf("Scan = %v", err)
	}
	return got
}

// sorted gives the rows that a map of them must show.
func sorted(m map[int]string) []string {
	var out []string
	for _, n := range slices.Sorted(maps.Keys(m)) {
		out = append(out, fmt.Sprintf("%03d=%s", n, m[n]))
	}
	return out
}

func viewRows(tb testing.TB, g *store.GroupState) []string {
	tb.Helper()
	v, err := g.View()
	if err != nil {
		tb.Fatalf("View = %v", err)
	}
	defer v.Close()
	return rows(tb, v, g.ID(), false)
}

// TestBatch compares a batch's reads with a map under seeded writes.
func TestBatch(t *testing.T) {
	s := openState(t, t.TempDir(), store.StateOptions{})
	g, other := group(t, s, 1), group(t, s, 2)
	put(t, other, 1, map[int]string{5: "other"})
	truth := make(map[int]string)
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 3))
		b := g.Begin()
		own := maps.Clone(truth)
		for range 1 + rng.IntN(200) {
			n := rng.IntN(60)
			if rng.IntN(3) == 0 {
				delete(own, n)
				if err := b.Delete(rowKey(1, n)); err != nil {
					t.Fatal(err)
				}
			} else {
				own[n] = strings.Repeat("v", rng.IntN(200)) + fmt.Sprint(rng.IntN(1000))
				if err := b.Set(rowKey(1, n), []byte(own[n])); err != nil {
					t.Fatal(err)
				}
			}
			n = rng.IntN(60)
			val, ok, err := b.Get(rowKey(1, n))
			if want, has := own[n]; err != nil || ok != has || string(val) != want {
				t.Fatalf("seed %d: Get(%d) = %q, %v, %v, want %q, %v", seed, n, val, ok, err, want, has)
			}
		}
		want := sorted(own)
		if diff := cmp.Diff(want, rows(t, b, 1, false)); diff != "" {
			t.Fatalf("seed %d: Scan differs (-want +got):\n%s", seed, diff)
		}
		slices.Reverse(want)
		if diff := cmp.Diff(want, rows(t, b, 1, true)); diff != "" {
			t.Fatalf("seed %d: reverse Scan differs (-want +got):\n%s", seed, diff)
		}
		if rng.IntN(3) == 0 {
			b.Close() // nothing of it happens
		} else {
			index, _ := g.Applied()
			if err := b.Commit(index+1, 1); err != nil {
				t.Fatal(err)
			}
			truth = own
		}
		if diff := cmp.Diff(sorted(truth), viewRows(t, g)); diff != "" {
			t.Fatalf("seed %d: view differs (-want +got):\n%s", seed, diff)
		}
	}
	if diff := cmp.Diff([]string{"005=other"}, viewRows(t, other)); diff != "" {
		t.Errorf("the other group differs (-want +got):\n%s", diff)
	}
}

// put commits rows to a group.
func put(tb testing.TB, g *store.GroupState, index uint64, m map[int]string) {
	tb.Helper()
	b := g.Begin()
	for n, v := range m {
		if err := b.Set(rowKey(g.ID(), n), []byte(v)); err != nil {
			tb.Fatal(err)
		}
	}
	if err := b.Commit(index, 1); err != nil {
		tb.Fatal(err)
	}
}

func TestBatchKeepsWithin(t *testing.T) {
	g := group(t, openState(t, t.TempDir(), store.StateOptions{}), 1)
	b := g.Begin()
	defer b.Close()
	for name, key := range map[string][]byte{
		"the store's rows": fsm.AppendPrefix(nil, 1, fsm.AreaStore),
		"another group":    rowKey(2, 1),
		"no key":           nil,
	} {
		if err := b.Set(key, nil); err == nil {
			t.Errorf("%s: Set succeeded", name)
		}
		if err := b.Delete(key); err == nil {
			t.Errorf("%s: Delete succeeded", name)
		}
	}
	if err := g.Begin().Commit(5, 2); err != nil {
		t.Fatal(err)
	}
	if err := g.Begin().Commit(4, 2); err == nil {
		t.Error("Commit behind the applied index succeeded")
	}
}

func TestViewIsASnapshot(t *testing.T) {
	g := group(t, openState(t, t.TempDir(), store.StateOptions{}), 1)
	put(t, g, 1, map[int]string{1: "a", 2: "b"})
	v, err := g.View()
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	put(t, g, 2, map[int]string{1: "changed", 3: "c"})
	if err := g.Drop(); err != nil {
		t.Fatal(err)
	}
	val, ok, err := v.Get(rowKey(1, 1))
	if err != nil || !ok || string(val) != "a" {
		t.Errorf("Get = %q, %v, %v, want the old value", val, ok, err)
	}
	if _, ok, err := v.Get(rowKey(1, 3)); ok || err != nil {
		t.Errorf("Get of a later row = %v, %v", ok, err)
	}
	if diff := cmp.Diff([]string{"001=a", "002=b"}, rows(t, v, 1, false)); diff != "" {
		t.Errorf("Scan differs (-want +got):\n%s", diff)
	}
	if index, term := g.Applied(); index != 0 || term != 0 {
		t.Errorf("Applied after Drop = %d, %d", index, term)
	}
}

// stream gives the snapshot of a group as bytes.
func stream(tb testing.TB, g *store.GroupState) []byte {
	tb.Helper()
	snap, err := g.Snapshot()
	if err != nil {
		tb.Fatalf("Snapshot = %v", err)
	}
	defer snap.Close()
	b, err := io.ReadAll(snap)
	if err != nil {
		tb.Fatalf("read snapshot = %v", err)
	}
	if uint64(len(b)) != snap.Header().Size {
		tb.Fatalf("stream of %d bytes, header says %d", len(b), snap.Header().Size)
	}
	return b
}

// source makes a group with rows that were overwritten and deleted, too.
func source(tb testing.TB, s *store.State) *store.GroupState {
	tb.Helper()
	g := group(tb, s, 7)
	rng := rand.New(rand.NewPCG(1, 1))
	for i := range uint64(5) {
		b := g.Begin()
		for range 20 {
			n := rng.IntN(40)
			if err := b.Set(rowKey(7, n), fmt.Appendf(nil, "value %d", rng.Uint64())); err != nil {
				tb.Fatal(err)
			}
		}
		if err := b.Delete(rowKey(7, rng.IntN(40))); err != nil {
			tb.Fatal(err)
		}
		if err := b.SetConfiguration(i+1, fmt.Appendf(nil, "members %d", i)); err != nil {
			tb.Fatal(err)
		}
		if err := b.Commit(i+1, 3); err != nil {
			tb.Fatal(err)
		}
	}
	return g
}

func install(g *store.GroupState, b []byte, piece int) error {
	in, err := g.NewInstall()
	if err != nil {
		return err
	}
	defer in.Abort()
	for len(b) > 0 {
		n := min(piece, len(b))
		if _, err := in.Write(b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return in.Commit()
}

func TestInstall(t *testing.T) {
	for _, flushed := range []bool{false, true} {
		for _, piece := range []int{1, 7, 4096, 1 << 20} {
			fs := vfs.NewCrashableMem()
			o := store.StateOptions{FS: fs}
			src := source(t, openState(t, "src", o))
			b := stream(t, src)
			s, err := store.OpenState("dst", o)
			if err != nil {
				t.Fatal(err)
			}
			dst := group(t, s, 7)
			put(t, dst, 2, map[int]string{1: "old", 99: "old and not in the snapshot"})
			if flushed {
				if err := dst.Barrier(); err != nil {
					t.Fatal(err)
				}
			}
			if err := install(dst, b, piece); err != nil {
				t.Fatalf("pieces of %d: install = %v", piece, err)
			}
			// An install is durable by itself.
			after := fs.CrashClone(vfs.CrashCloneCfg{})
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			o.FS = after
			dst = group(t, openState(t, "dst", o), 7)
			if diff := cmp.Diff(viewRows(t, src), viewRows(t, dst)); diff != "" {
				t.Errorf("installed rows differ (-want +got):\n%s", diff)
			}
			index, term := dst.Applied()
			cfg, cfgIndex := dst.Configuration()
			if index != 5 || term != 3 || string(cfg) != "members 4" || cfgIndex != 5 {
				t.Errorf("installed at %d, %d with %q at %d", index, term, cfg, cfgIndex)
			}
			if !bytes.Equal(b, stream(t, dst)) {
				t.Error("a snapshot of the installed state differs from the one installed")
			}
		}
	}
}

// TestInstallInterrupted ends the stream at every byte: the old state stays, and
// nothing is left on disk.
func TestInstallInterrupted(t *testing.T) {
	fs := vfs.NewMem()
	b := stream(t, source(t, openState(t, "src", store.StateOptions{FS: fs})))
	dst := group(t, openState(t, "dst", store.StateOptions{FS: fs}), 7)
	put(t, dst, 2, map[int]string{1: "old"})
	for n := range b {
		if err := install(dst, b[:n], 1<<20); !errors.Is(err, store.ErrIncomplete) {
			t.Fatalf("install of %d of %d bytes = %v, want ErrIncomplete", n, len(b), err)
		}
	}
	checkOld(t, fs, dst)
	if err := install(dst, b, 1<<20); err != nil {
		t.Errorf("install of the whole = %v", err)
	}
}

// TestInstallDamaged changes every byte of the stream in turn.
func TestInstallDamaged(t *testing.T) {
	fs := vfs.NewMem()
	b := stream(t, source(t, openState(t, "src", store.StateOptions{FS: fs})))
	dst := group(t, openState(t, "dst", store.StateOptions{FS: fs}), 7)
	put(t, dst, 2, map[int]string{1: "old"})
	for i := range b {
		b[i] ^= 0x20
		if err := install(dst, b, 1<<20); err == nil {
			t.Fatalf("install with byte %d of %d damaged succeeded", i, len(b))
		}
		b[i] ^= 0x20
	}
	if err := install(dst, append(slices.Clone(b), 0), 1<<20); err == nil {
		t.Error("install of a longer stream succeeded")
	}
	checkOld(t, fs, dst)
}

func checkOld(t *testing.T, fs vfs.FS, g *store.GroupState) {
	t.Helper()
	if diff := cmp.Diff([]string{"001=old"}, viewRows(t, g)); diff != "" {
		t.Errorf("the old state differs (-want +got):\n%s", diff)
	}
	names, err := fs.List("dst")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasPrefix(name, "install-") {
			t.Errorf("%s is left", name)
		}
	}
}

func TestOrphansAreRemoved(t *testing.T) {
	fs := vfs.NewMem()
	b := stream(t, source(t, openState(t, "src", store.StateOptions{FS: fs})))
	s, err := store.OpenState("dst", store.StateOptions{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	in, err := group(t, s, 7).NewInstall()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil { // the process ends before Commit
		t.Fatal(err)
	}
	g := group(t, openState(t, "dst", store.StateOptions{FS: fs}), 7)
	put(t, g, 2, map[int]string{1: "old"})
	checkOld(t, fs, g)
}

// TestStatePowerCut checks that what a power cut leaves is the result of a
// prefix of the batches, which reaches at least the last barrier.
func TestStatePowerCut(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 9))
		fs := vfs.NewCrashableMem()
		o := store.StateOptions{FS: fs, BufferBytes: []int64{1, 256 << 10, 0}[seed%3]}
		s, err := store.OpenState("state", o)
		if err != nil {
			t.Fatal(err)
		}
		g := group(t, s, 1)
		history := [][]string{nil}
		truth := make(map[int]string)
		barrier := uint64(0)
		for i := range uint64(20 + rng.IntN(60)) {
			change := map[int]string{rng.IntN(30): fmt.Sprint(i), rng.IntN(30): strings.Repeat("x", rng.IntN(2000))}
			maps.Copy(truth, change)
			put(t, g, i+1, change)
			history = append(history, sorted(truth))
			if rng.IntN(15) == 0 {
				if err := g.Barrier(); err != nil {
					t.Fatal(err)
				}
				barrier = i + 1
			}
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(3) * 50, RNG: rng})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		o.FS = after
		s, err = store.OpenState("state", o)
		if err != nil {
			t.Fatalf("seed %d: OpenState = %v", seed, err)
		}
		g = group(t, s, 1)
		index, _ := g.Applied()
		if index < barrier {
			t.Errorf("seed %d: applied %d after the cut, the barrier was at %d", seed, index, barrier)
		}
		if diff := cmp.Diff(history[index], viewRows(t, g)); diff != "" {
			t.Errorf("seed %d: state at %d differs (-want +got):\n%s", seed, index, diff)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func FuzzInstall(f *testing.F) {
	fs := vfs.NewMem()
	src := source(f, openState(f, "src", store.StateOptions{FS: fs}))
	b := stream(f, src)
	f.Add(b, 100)
	f.Add(b[:100], 1)
	f.Add([]byte("CNSNAP1\n"), 3)
	dst := group(f, openState(f, "dst", store.StateOptions{FS: fs}), 7)
	f.Fuzz(func(t *testing.T, b []byte, piece int) {
		in, err := dst.NewInstall()
		if err != nil {
			t.Fatal(err)
		}
		for rest := b; len(rest) > 0; {
			n := max(1, min(piece, len(rest)))
			if _, err := in.Write(rest[:n]); err != nil {
				break
			}
			rest = rest[n:]
		}
		in.Abort()
	})
}
