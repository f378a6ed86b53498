package rowbuf

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestSortByKey compares with sorting by whole keys, on both sides of the number
// from which on heads are counted.
func TestSortByKey(t *testing.T) {
	t.Parallel()
	var spare []sorted
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		n := rng.IntN(3 * radixMin)
		mask := []uint64{0, 7, 0xff00, 0x0fff_ffff_f000_0fff, 1<<64 - 1}[rng.IntN(5)]
		keys := make([][]byte, n+1)
		rows := make([]sorted, n)
		for i := range rows {
			head := rng.Uint64() & mask
			key := binary.BigEndian.AppendUint64(make([]byte, ChainBytes), head)
			keys[i+1] = binary.BigEndian.AppendUint64(key, rng.Uint64())[:len(key)+rng.IntN(9)]
			rows[i] = sorted{head: head, at: Mark(i + 1)}
		}
		rows, spare = sortByKey(rows, spare, func(at Mark) []byte { return keys[at] })
		var got [][]byte
		for i := range rows {
			got = append(got, keys[rows[i].at])
		}
		want := slices.Clone(keys[1:])
		slices.SortFunc(want, bytes.Compare)
		if !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("seed %d: %d rows with heads of %#x are not in order", seed, n, mask)
		}
	}
}

// BenchmarkScanIDs visits the rows of the client ids of one conversation, whose
// times are nearly in order; one operation is one row.
func BenchmarkScanIDs(b *testing.B) {
	const rows = 100_000
	buf := new(Buffer)
	rng := rand.New(rand.NewPCG(1, 1))
	key := make([]byte, ChainBytes+16)
	buf.Lock()
	for i := range uint64(rows) {
		ms := 1_760_000_000_000 + i/30 - rng.Uint64N(20)
		binary.BigEndian.PutUint64(key[ChainBytes:], ms<<16|0x7000|rng.Uint64N(1<<12))
		binary.BigEndian.PutUint64(key[ChainBytes+8:], rng.Uint64())
		buf.Put(buf.Seek(key), key, key[:8], false)
	}
	snap := buf.At(buf.Unlock())
	c := Cursor{}
	b.ReportAllocs()
	for b.Loop() {
		if !c.Valid() {
			c.Reset(&snap, nil, nil, false)
		}
		c.Next()
	}
}
