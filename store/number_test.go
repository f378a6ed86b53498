package store_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// entryNumber is the number of the rows that entryKey makes keys for.
func entryNumber(key []byte) (uint64, bool) {
	if len(key) != len(entryKey(nil, 1, 0, 0)) || key[len(key)-9] != 'e' {
		return 0, false
	}
	return binary.BigEndian.Uint64(key[len(key)-8:]), true
}

// history writes entries of conversations, and another row of each, in layers: each
// has a later part of every conversation.
func history(tb testing.TB, g *store.GroupState, layers, convs, entries uint64) {
	tb.Helper()
	const body = 340
	rng := rand.New(rand.NewPCG(3, 4))
	val := make([]byte, body)
	for layer := range layers {
		b := g.Begin()
		for conv := range convs {
			for i := range entries {
				for j := range val {
					val[j] = "etaoinshrdlu etaoin qwertyuiopasdfghjklzxcvbnm"[rng.IntN(46)]
				}
				if err := b.Set(entryKey(nil, g.ID(), conv, layer*entries+i+1), val); err != nil {
					tb.Fatal(err)
				}
			}
			if err := b.Set(dedupKey(nil, g.ID(), conv, layer), val[:24]); err != nil {
				tb.Fatal(err)
			}
		}
		index, _ := g.Applied()
		if err := b.Commit(index+1, 1); err != nil {
			tb.Fatal(err)
		}
		if err := g.Barrier(); err != nil {
			tb.Fatal(err)
		}
	}
}

// entriesOf scans the entries from and to.
func entriesOf(g *store.GroupState, conv, from, to uint64) error {
	v, err := g.View()
	if err != nil {
		return err
	}
	defer v.Close()
	next := to
	err = v.Scan(entryKey(nil, g.ID(), conv, from), entryKey(nil, g.ID(), conv, to+1), true, func(k, _ []byte) (bool, error) {
		if n, _ := entryNumber(k); n != next {
			return false, fmt.Errorf("entry %d, want %d", n, next)
		}
		next--
		return true, nil
	})
	if err == nil && next != from-1 {
		err = fmt.Errorf("the entries end at %d, want %d", next+1, from)
	}
	return err
}

// TestNumbersSpareBlocks reads a page of old entries while three tables lie over each
// other: only the one that has them is read, where rows are numbered.
func TestNumbersSpareBlocks(t *testing.T) {
	t.Parallel()
	const layers, convs, entries = 3, 5, 100
	read := make(map[bool]int64)
	for _, numbered := range []bool{true, false} {
		o := store.StateOptions{FS: vfs.NewMem()}
		if numbered {
			o.Number = entryNumber
		}
		s := openState(t, "state", o)
		g := group(t, s, shard.GroupID(1))
		history(t, g, layers, convs, entries)
		if n := store.Layers(s); n != layers-1 { // the first lies at the bottom
			t.Fatalf("%d tables over each other above the first, want %d", n, layers-1)
		}
		before := store.BlocksRead(s)
		if err := entriesOf(g, 2, entries+40, entries+45); err != nil {
			t.Fatal(err)
		}
		read[numbered] = store.BlocksRead(s) - before
		for conv := range uint64(convs) { // at and across every edge of a block and of a table
			for from := uint64(1); from < layers*entries; from++ {
				if err := entriesOf(g, conv, from, from+1); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if read[true] > read[false]-(layers-1) {
		t.Errorf("%d blocks with numbers, %d without: want one less of each other table", read[true], read[false])
	}
}

// BenchmarkOldPage reads 50 entries from a random place while many tables lie over
// each other, as they do right after a full load.
func BenchmarkOldPage(b *testing.B) {
	const layers, convs, entries = 20, 50, 100
	for _, numbered := range []bool{true, false} {
		b.Run(fmt.Sprintf("numbered=%v", numbered), func(b *testing.B) {
			o := store.StateOptions{}
			if numbered {
				o.Number = entryNumber
			}
			s := openState(b, b.TempDir(), o)
			g := group(b, s, 1)
			history(b, g, layers, convs, entries)
			rng := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			for b.Loop() {
				from := 1 + rng.Uint64N(layers*entries-50)
				if err := entriesOf(g, rng.Uint64N(convs), from, from+49); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(store.Layers(s)), "layers")
		})
	}
}
