// Package storetest holds the suite that every log of package store passes, a
// model to compare with, and a file system that loses what was not synced.
package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// Opener opens the same log again and again; the one before has been closed.
type Opener func(t testing.TB) store.Log

// RunLog runs the conformance suite. New gives an opener of a fresh log.
func RunLog(t *testing.T, newLog func(t testing.TB) Opener) {
	t.Helper()
	for _, tt := range []struct {
		name string
		run  func(t *testing.T, open Opener)
	}{
		{"empty", testEmpty},
		{"append and read", testAppend},
		{"order is enforced", testOrder},
		{"ranges are deleted", testDeleteRange},
		{"stable values", testStable},
		{"groups are apart", testGroups},
		{"drop", testDrop},
		{"durability is told", testDurable},
		{"waiters of a cut entry end", testWaitCut},
		{"concurrent groups", testConcurrent},
		{"random operations", testRandom},
		{"close", testClose},
	} {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, newLog(t)) })
	}
}

func mustGroup(tb testing.TB, l store.Log, g shard.GroupID) store.GroupLog {
	tb.Helper()
	gl, err := l.Group(g)
	if err != nil {
		tb.Fatalf("Group(%d) = %v", g, err)
	}
	return gl
}

func mustClose(tb testing.TB, l store.Log) {
	tb.Helper()
	if err := l.Close(); err != nil {
		tb.Fatalf("Close = %v", err)
	}
}

// Entries makes n entries from index on, with bodies that tell them apart.
func Entries(index, term uint64, n int) []store.LogEntry {
	out := make([]store.LogEntry, n)
	for i := range out {
		idx := index + uint64(i)
		out[i] = store.LogEntry{
			Index: idx, Term: term, Type: uint8(idx % 5), AppendedAtNS: int64(1000*idx + term),
			Data: bytes.Repeat(fmt.Appendf(nil, "%d.%d ", term, idx), 1+int(idx%7)),
		}
		if idx%3 == 0 {
			out[i].Extensions = fmt.Appendf(nil, "ext %d", idx)
		}
	}
	return out
}

func mustAppend(tb testing.TB, g store.GroupLog, entries []store.LogEntry) {
	tb.Helper()
	if err := g.Append(entries); err != nil {
		tb.Fatalf("Append(%d..) = %v", entries[0].Index, err)
	}
}

// CheckEntries compares the whole of a group's log with want.
func CheckEntries(tb testing.TB, g store.GroupLog, want []store.LogEntry) {
	tb.Helper()
	var first, last uint64
	if len(want) > 0 {
		first, last = want[0].Index, want[len(want)-1].Index
	}
	if f, l := g.FirstIndex(), g.LastIndex(); f != first || l != last {
		tb.Fatalf("bounds = %d..%d, want %d..%d", f, l, first, last)
	}
	for i := range want {
		var got store.LogEntry
		if err := g.Entry(want[i].Index, &got); err != nil {
			tb.Fatalf("Entry(%d) = %v", want[i].Index, err)
		}
		if !equalEntries(&want[i], &got) {
			tb.Fatalf("Entry(%d) differs (-want +got):\n%s", want[i].Index, cmp.Diff(want[i], got))
		}
		if n := g.EntryBytes(want[i].Index); n != len(want[i].Data)+len(want[i].Extensions) {
			tb.Fatalf("EntryBytes(%d) = %d, want %d and %d", want[i].Index, n, len(want[i].Data), len(want[i].Extensions))
		}
	}
	var e store.LogEntry
	for _, out := range []uint64{first - 1, last + 1} {
		if err := g.Entry(out, &e); !errors.Is(err, store.ErrNotFound) {
			tb.Fatalf("Entry(%d) outside %d..%d = %v, want ErrNotFound", out, first, last, err)
		}
		if n := g.EntryBytes(out); n != 0 {
			tb.Fatalf("EntryBytes(%d) outside %d..%d = %d", out, first, last, n)
		}
	}
}

// equalEntries spares the comparison by reflection where nothing differs.
func equalEntries(a, b *store.LogEntry) bool {
	return a.Index == b.Index && a.Term == b.Term && a.Type == b.Type && a.AppendedAtNS == b.AppendedAtNS &&
		bytes.Equal(a.Data, b.Data) && bytes.Equal(a.Extensions, b.Extensions)
}

func testEmpty(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	g := mustGroup(t, l, 3)
	CheckEntries(t, g, nil)
	if d := g.DurableIndex(); d != 0 {
		t.Errorf("DurableIndex = %d, want 0", d)
	}
	if err := g.Append(nil); err != nil {
		t.Errorf("Append of nothing = %v", err)
	}
	if err := g.DeleteRange(1, 10); err != nil {
		t.Errorf("DeleteRange of nothing = %v", err)
	}
	if got := l.Groups(); len(got) != 0 {
		t.Errorf("Groups = %v, want none", got)
	}
	mustClose(t, l)
}

func testAppend(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	g := mustGroup(t, l, 1)
	want := Entries(5, 1, 40)
	mustAppend(t, g, want[:1])
	mustAppend(t, g, want[1:30])
	mustAppend(t, g, want[30:])
	CheckEntries(t, g, want)
	if err := g.WaitDurable(44); err != nil {
		t.Fatalf("WaitDurable = %v", err)
	}
	mustClose(t, l)
	l = open(t)
	g = mustGroup(t, l, 1)
	CheckEntries(t, g, want)
	if d := g.DurableIndex(); d != 44 {
		t.Errorf("DurableIndex after reopening = %d, want 44", d)
	}
	big := store.LogEntry{Index: 45, Term: 2, Data: bytes.Repeat([]byte("x"), 3<<20)}
	mustAppend(t, g, []store.LogEntry{big})
	want = append(want, big)
	CheckEntries(t, g, want)
	mustClose(t, l)
	l = open(t)
	CheckEntries(t, mustGroup(t, l, 1), want)
	mustClose(t, l)
}

func testOrder(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	g := mustGroup(t, l, 1)
	want := Entries(1, 1, 10)
	mustAppend(t, g, want)
	gap := Entries(11, 1, 3)
	gap[1].Index = 13
	for name, bad := range map[string][]store.LogEntry{
		"gap":          Entries(12, 1, 1),
		"overwrite":    Entries(10, 2, 1),
		"gap within":   gap,
		"index 0":      {{Index: 0}},
		"over the max": {{Index: 11, Data: make([]byte, store.EntryBytesMax+1)}},
	} {
		if err := g.Append(bad); !errors.Is(err, store.ErrOrder) {
			t.Errorf("%s: Append = %v, want ErrOrder", name, err)
		}
	}
	if err := g.DeleteRange(3, 5); !errors.Is(err, store.ErrOrder) {
		t.Errorf("DeleteRange within = %v, want ErrOrder", err)
	}
	CheckEntries(t, g, want)
	mustClose(t, l)
}

func testDeleteRange(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	g := mustGroup(t, l, 1)
	want := Entries(1, 1, 100)
	mustAppend(t, g, want)
	del := func(lo, hi uint64, rest []store.LogEntry) {
		t.Helper()
		if err := g.DeleteRange(lo, hi); err != nil {
			t.Fatalf("DeleteRange(%d, %d) = %v", lo, hi, err)
		}
		CheckEntries(t, g, rest)
	}
	del(0, 10, want[10:])
	del(90, 1000, want[10:89])
	want = append(want[10:89:89], Entries(90, 2, 5)...)
	mustAppend(t, g, want[79:])
	CheckEntries(t, g, want)
	del(1, 9, want) // nothing there any more
	if err := g.WaitDurable(94); err != nil {
		t.Fatalf("WaitDurable = %v", err)
	}
	mustClose(t, l)
	l = open(t)
	g = mustGroup(t, l, 1)
	CheckEntries(t, g, want)
	del(11, 94, nil)
	far := Entries(500, 3, 3)
	mustAppend(t, g, far)
	if err := g.WaitDurable(502); err != nil {
		t.Fatalf("WaitDurable = %v", err)
	}
	mustClose(t, l)
	l = open(t)
	CheckEntries(t, mustGroup(t, l, 1), far)
	mustClose(t, l)
}

func testStable(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	g := mustGroup(t, l, 1)
	if _, err := g.Get([]byte("term")); !errors.Is(err, store.ErrNotFound) || err.Error() != "not found" {
		t.Errorf("Get of an absent key = %v, want the text %q", err, "not found")
	}
	for i := range 20 {
		if err := g.Set([]byte("term"), fmt.Appendf(nil, "v%d", i)); err != nil {
			t.Fatalf("Set = %v", err)
		}
	}
	if err := g.Set([]byte("empty"), nil); err != nil {
		t.Fatalf("Set of nothing = %v", err)
	}
	if err := g.Set([]byte("large"), make([]byte, store.StableValueBytesMax+1)); err == nil {
		t.Error("Set of a value over the limit succeeded")
	}
	for range 2 {
		for key, want := range map[string]string{"term": "v19", "empty": ""} {
			if got, err := g.Get([]byte(key)); err != nil || string(got) != want {
				t.Errorf("Get(%s) = %q, %v, want %q", key, got, err, want)
			}
		}
		mustClose(t, l)
		l = open(t)
		g = mustGroup(t, l, 1)
	}
	mustClose(t, l)
}

func testGroups(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	want := make(map[shard.GroupID][]store.LogEntry)
	for id := range shard.GroupID(5) {
		want[id] = Entries(uint64(id)*10+1, uint64(id)+1, 7)
		mustAppend(t, mustGroup(t, l, id), want[id])
	}
	if err := mustGroup(t, l, 9).Set([]byte("k"), []byte("v")); err != nil {
		t.Fatalf("Set = %v", err)
	}
	for range 2 {
		for id, entries := range want {
			CheckEntries(t, mustGroup(t, l, id), entries)
		}
		if diff := cmp.Diff([]shard.GroupID{0, 1, 2, 3, 4, 9}, l.Groups()); diff != "" {
			t.Errorf("Groups differ (-want +got):\n%s", diff)
		}
		mustClose(t, l)
		l = open(t)
	}
	mustClose(t, l)
}

func testDrop(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	a, b := mustGroup(t, l, 1), mustGroup(t, l, 2)
	keep := Entries(1, 1, 5)
	mustAppend(t, a, Entries(1, 1, 5))
	mustAppend(t, b, keep)
	if err := a.Set([]byte("k"), []byte("v")); err != nil {
		t.Fatalf("Set = %v", err)
	}
	if err := l.Drop(1); err != nil {
		t.Fatalf("Drop = %v", err)
	}
	if err := l.Drop(77); err != nil {
		t.Fatalf("Drop of an unknown group = %v", err)
	}
	for range 2 {
		CheckEntries(t, mustGroup(t, l, 1), nil)
		CheckEntries(t, mustGroup(t, l, 2), keep)
		if _, err := mustGroup(t, l, 1).Get([]byte("k")); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Get after Drop = %v, want ErrNotFound", err)
		}
		mustClose(t, l)
		l = open(t)
	}
	again := Entries(40, 9, 3)
	mustAppend(t, mustGroup(t, l, 1), again)
	CheckEntries(t, mustGroup(t, l, 1), again)
	mustClose(t, l)
}

func testDurable(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	g := mustGroup(t, l, 1)
	told := make(chan uint64, 100)
	g.NotifyDurable(func(d uint64) { told <- d })
	mustAppend(t, g, Entries(1, 1, 3))
	deadline := time.After(time.Minute)
	for last := uint64(0); last < 3; {
		select {
		case d := <-told:
			if d <= last || d > 3 {
				t.Fatalf("told of %d after %d", d, last)
			}
			last = d
		case <-deadline:
			t.Fatal("never told that 3 is durable")
		}
	}
	if d := g.DurableIndex(); d != 3 {
		t.Errorf("DurableIndex = %d, want 3", d)
	}
	if err := g.WaitDurable(2); err != nil {
		t.Errorf("WaitDurable(2) = %v", err)
	}
	if err := g.WaitDurable(4); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("WaitDurable(4) = %v, want ErrNotFound", err)
	}
	if err := g.DeleteRange(2, 3); err != nil {
		t.Fatalf("DeleteRange = %v", err)
	}
	if d := g.DurableIndex(); d != 1 {
		t.Errorf("DurableIndex after a cut = %d, want 1", d)
	}
	s := l.Stats()
	if s.Appends != 3 || s.Syncs == 0 || s.SyncTime <= 0 || s.SyncMax < s.SyncLast {
		t.Errorf("Stats = %+v", s)
	}
	mustClose(t, l)
}

func testWaitCut(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	g := mustGroup(t, l, 1)
	for i := range 50 {
		mustAppend(t, g, Entries(1, uint64(i), 20))
		done := make(chan error, 1)
		go func() { done <- g.WaitDurable(20) }()
		if err := g.DeleteRange(1, 20); err != nil {
			t.Fatalf("DeleteRange = %v", err)
		}
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("WaitDurable = %v", err)
			}
		case <-time.After(time.Minute):
			t.Fatal("WaitDurable still waits for an entry that is gone")
		}
	}
	mustClose(t, l)
}

func testConcurrent(t *testing.T, open Opener) {
	t.Helper()
	const groups, rounds = 8, 40
	l := open(t)
	var wg sync.WaitGroup
	for id := range shard.GroupID(groups) {
		g := mustGroup(t, l, id)
		wg.Add(2)
		go func() {
			defer wg.Done()
			for r := range uint64(rounds) {
				if err := g.Append(Entries(r*5+1, 1, 5)); err != nil {
					t.Errorf("Append = %v", err)
					return
				}
				if err := g.WaitDurable(r*5 + 5); err != nil {
					t.Errorf("WaitDurable = %v", err)
				}
			}
		}()
		go func() { // a reader of whatever is there
			defer wg.Done()
			var e store.LogEntry
			for g.LastIndex() < rounds*5 && !t.Failed() {
				last := g.LastIndex()
				if last == 0 {
					continue
				}
				if err := g.Entry(last, &e); err != nil || e.Index != last {
					t.Errorf("Entry(%d) = index %d, %v", last, e.Index, err)
					return
				}
			}
		}()
	}
	wg.Wait()
	for id := range shard.GroupID(groups) {
		CheckEntries(t, mustGroup(t, l, id), Entries(1, 1, rounds*5))
	}
	mustClose(t, l)
}

func testClose(t *testing.T, open Opener) {
	t.Helper()
	l := open(t)
	g := mustGroup(t, l, 1)
	want := Entries(1, 1, 9)
	mustAppend(t, g, want)
	mustClose(t, l)
	mustClose(t, l)
	var e store.LogEntry
	for name, err := range map[string]error{
		"Append": g.Append(Entries(10, 1, 1)), "Entry": g.Entry(1, &e), "Set": g.Set([]byte("a"), nil),
		"DeleteRange": g.DeleteRange(1, 1), "Drop": l.Drop(1),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close = %v, want ErrClosed", name, err)
		}
	}
	if _, err := l.Group(2); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Group after Close = %v, want ErrClosed", err)
	}
	l = open(t)
	CheckEntries(t, mustGroup(t, l, 1), want)
	mustClose(t, l)
}

// testRandom compares with a map under seeded operations.
func testRandom(t *testing.T, open Opener) {
	t.Helper()
	for seed := uint64(1); seed <= 4; seed++ {
		t.Logf("seed %d", seed)
		rng := rand.New(rand.NewPCG(seed, 77))
		m := NewModel()
		l := open(t)
		for id := range shard.GroupID(4) {
			if err := l.Drop(id); err != nil {
				t.Fatalf("seed %d: Drop = %v", seed, err)
			}
		}
		for range 400 {
			if rng.IntN(60) == 0 {
				mustClose(t, l)
				l = open(t)
				m.Check(t, l)
				continue
			}
			m.Step(t, l, rng)
		}
		m.Check(t, l)
		mustClose(t, l)
	}
}
