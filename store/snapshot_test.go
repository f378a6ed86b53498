package store_test

import (
	"io"
	"math/rand/v2"
	"testing"

	"github.com/chatnode/chatnode/store"
)

// bigGroup is a group of rows of 1 MB, the first of which were written twice, so
// that its running count is above what it holds, and above what is counted anew
// for every snapshot.
type bigGroup struct {
	*store.GroupState
	t     *testing.T
	rng   *rand.ChaCha8
	index uint64
}

func overwritten(t *testing.T) *bigGroup {
	t.Helper()
	f := &bigGroup{GroupState: group(t, openState(t, t.TempDir(), store.StateOptions{}), 1), t: t, rng: rand.NewChaCha8([32]byte{1})}
	f.put(0, 40)
	f.put(0, 8)
	return f
}

func (f *bigGroup) put(from, n int) {
	f.t.Helper()
	for i := from; i < from+n; i++ {
		val := make([]byte, 1<<20)
		_, _ = f.rng.Read(val) // never fails
		b := f.Begin()
		if err := b.Set(rowKey(1, i), val); err != nil {
			f.t.Fatal(err)
		}
		f.index++
		if err := b.Commit(f.index, 1); err != nil {
			f.t.Fatal(err)
		}
	}
}

// send reads a whole snapshot and calls during while it is open. It gives the
// declared size.
func (f *bigGroup) send(during func()) (uint64, error) {
	f.t.Helper()
	snap, err := f.Snapshot()
	if err != nil {
		f.t.Fatal(err)
	}
	during()
	_, err = io.Copy(io.Discard, snap)
	if err := snap.Close(); err != nil {
		f.t.Fatal(err)
	}
	return snap.Header().Size, err
}

// TestRecountTwice: two full passes over rows of which some were written twice
// lower the running count once, also when more is written during the second: a
// snapshot whose bound is too low cannot be sent.
func TestRecountTwice(t *testing.T) {
	f := overwritten(t)
	loose, err := f.send(func() {})
	if err != nil {
		t.Fatal(err)
	}
	exact, err := f.send(func() { f.put(100, 10) })
	if err != nil {
		t.Fatal(err)
	}
	if loose < 48<<20 || exact >= 41<<20 {
		t.Errorf("declared %d and then %d bytes for 40 MB of which 8 were written twice", loose, exact)
	}
	if size, err := f.send(func() {}); err != nil || size >= 51<<20 {
		t.Errorf("a snapshot of 50 MB with a bound of %d: %v", size, err)
	}
}

// TestMiscountHeals: a count that is too low, as versions before could store it,
// fails one snapshot and is put right by the next.
func TestMiscountHeals(t *testing.T) {
	f := overwritten(t)
	store.Miscount(f.GroupState, 10<<20)
	if size, err := f.send(func() {}); err == nil {
		t.Fatalf("a snapshot of 40 MB took %d bytes", size)
	}
	for range 2 {
		if size, err := f.send(func() {}); err != nil || size < 40<<20 || size >= 41<<20 {
			t.Errorf("the next one, of 40 MB with a bound of %d: %v", size, err)
		}
	}
}
