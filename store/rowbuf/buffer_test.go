package rowbuf_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/chatnode/chatnode/store/rowbuf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func put(b *rowbuf.Buffer, key string, val []byte, deleted bool) {
	b.Put(b.Seek([]byte(key)), []byte(key), val, deleted)
}

// chainKey makes the key of a chain by number; some chains are one short key,
// and some of those begin other keys.
func chainKey(n int) string {
	full := fmt.Sprintf("grp1%02d-conversation-of-chain", n/2)[:rowbuf.ChainBytes]
	if n%2 == 1 {
		return full[:5+n/2%17]
	}
	return full
}

// randomKey draws keys that make chains in order, out of order, and of one key.
func randomKey(rng *rand.Rand, next *uint64) string {
	chain := rng.IntN(16)
	head := chainKey(chain)
	switch {
	case chain%2 == 1:
		return head
	case chain%4 == 0: // as entries: the next, at times one that was there
		if rng.IntN(8) == 0 {
			return head + string(binary.BigEndian.AppendUint64(nil, rng.Uint64N(*next+1)))
		}
		*next++
		return head + string(binary.BigEndian.AppendUint64(nil, *next))
	}
	return head + fmt.Sprint(rng.IntN(300))
}

type truth map[string]string // "" is a deletion

// check compares reads of a snap with what was true at its mark.
func check(t *testing.T, seed uint64, rng *rand.Rand, b *rowbuf.Buffer, at rowbuf.Mark, want truth) {
	t.Helper()
	keys := slices.Sorted(maps.Keys(want))
	snap := b.At(at)
	var c rowbuf.Cursor
	for range 6 {
		lower, upper := []byte(chainKey(rng.IntN(16))), []byte(chainKey(rng.IntN(16)))
		if len(keys) > 0 {
			switch rng.IntN(4) {
			case 0:
				lower = []byte(keys[rng.IntN(len(keys))])
			case 1:
				lower, upper = []byte(keys[rng.IntN(len(keys))]), []byte(keys[rng.IntN(len(keys))])
			case 2: // to the end of the chain
				lower = []byte(keys[rng.IntN(len(keys))])
				upper = slices.Clone(lower[:min(len(lower), rowbuf.ChainBytes)])
				upper[len(upper)-1]++
			default:
			}
		}
		if rng.IntN(5) == 0 {
			lower, upper = nil, nil
		}
		reverse := rng.IntN(2) == 0
		var expect, got []string
		for _, k := range keys {
			if k >= string(lower) && (upper == nil || k < string(upper)) {
				expect = append(expect, k+"="+want[k])
			}
		}
		if reverse {
			slices.Reverse(expect)
		}
		for c.Reset(&snap, lower, upper, reverse); c.Valid(); c.Next() {
			val, deleted := c.Val()
			if deleted != (len(val) == 0) {
				t.Fatalf("seed %d: %q is %q, deleted %v", seed, c.Key(), val, deleted)
			}
			got = append(got, string(c.Key())+"="+string(val))
		}
		if !slices.Equal(expect, got) {
			t.Fatalf("seed %d: scan [%q, %q) reverse %v at %d: %d rows, want %d\ngot  %.300q\nwant %.300q",
				seed, lower, upper, reverse, at, len(got), len(expect), got, expect)
		}
		c.Release()
	}
	for range 20 {
		next := uint64(40)
		key := randomKey(rng, &next)
		val, state := snap.Get([]byte(key))
		w, has := want[key]
		expect := rowbuf.Absent
		if has && w == "" {
			expect = rowbuf.Deleted
		} else if has {
			expect = rowbuf.Present
		}
		if state != expect || string(val) != w {
			t.Fatalf("seed %d: Get(%q) = %.50q, %v, want %.50q, %v", seed, key, val, state, w, expect)
		}
	}
}

// TestModel compares a buffer, at its end and at older marks, with maps.
func TestModel(t *testing.T) {
	t.Parallel()
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var b rowbuf.Buffer
		type moment struct {
			at   rowbuf.Mark
			want truth
		}
		var moments []moment
		now := truth{}
		next := uint64(0)
		check(t, seed, rng, &b, rowbuf.End, now)
		for range 1 + rng.IntN(60) {
			b.Lock()
			for range rng.IntN(120) {
				key := randomKey(rng, &next)
				if rng.IntN(5) == 0 {
					put(&b, key, nil, true)
					now[key] = ""
					continue
				}
				size := 1 + rng.IntN(60)
				if rng.IntN(1000) == 0 { // larger than a chunk, at times
					size = rng.IntN(150<<10) + 1
				}
				val := bytes.Repeat([]byte{byte('a' + rng.IntN(26))}, size)
				put(&b, key, val, false)
				now[key] = string(val)
			}
			moments = append(moments, moment{b.Unlock(), maps.Clone(now)})
			m := moments[rng.IntN(len(moments))]
			check(t, seed, rng, &b, m.at, m.want)
		}
		check(t, seed, rng, &b, rowbuf.End, now)
		if b.Keys() != len(now) {
			t.Errorf("seed %d: %d keys, want %d", seed, b.Keys(), len(now))
		}
	}
}

// TestConcurrent reads at fixed marks while rows are added.
func TestConcurrent(t *testing.T) {
	t.Parallel()
	const seed = 7
	var b rowbuf.Buffer
	rng := rand.New(rand.NewPCG(seed, 1))
	now := truth{}
	next := uint64(0)
	var wg sync.WaitGroup
	for round := range uint64(40) {
		b.Lock()
		for range 200 {
			key := randomKey(rng, &next)
			val := fmt.Sprint(rng.Uint64())
			put(&b, key, []byte(val), false)
			now[key] = val
		}
		at, want := b.Unlock(), maps.Clone(now)
		wg.Go(func() { check(t, seed, rand.New(rand.NewPCG(round, 2)), &b, at, want) })
	}
	wg.Wait()
}

// BenchmarkPut adds messages of a thousand conversations: an entry, whose key is
// the next of its conversation, and a small row with a random key.
func BenchmarkPut(b *testing.B) {
	b.ReportAllocs()
	rng := rand.New(rand.NewPCG(1, 1))
	val := make([]byte, 340)
	buf := new(rowbuf.Buffer)
	key := make([]byte, rowbuf.ChainBytes+8)
	for i := range b.N {
		if i%100_000 == 0 {
			buf = new(rowbuf.Buffer)
		}
		buf.Lock()
		binary.BigEndian.PutUint64(key[5:], rng.Uint64N(1000)*0x9e3779b97f4a7c15)
		for kind, seq := range []uint64{uint64(i), rng.Uint64()} {
			key[rowbuf.ChainBytes-1] = byte(kind)
			binary.BigEndian.PutUint64(key[rowbuf.ChainBytes:], seq)
			buf.Put(buf.Seek(key), key, val[:340-kind*316], false)
		}
		buf.Unlock()
	}
}
