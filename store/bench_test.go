package store_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/chatnode/chatnode/fsm"
	"github.com/chatnode/chatnode/shard"
	"github.com/chatnode/chatnode/store"
)

// entryKey makes the key of an entry row as the conversation machine lays it out.
func entryKey(dst []byte, g shard.GroupID, conv, seq uint64) []byte {
	dst = fsm.AppendPrefix(dst[:0], uint32(g), fsm.AreaConv)
	dst = binary.BigEndian.AppendUint64(dst, conv*0x9e3779b97f4a7c15)
	dst = binary.BigEndian.AppendUint64(dst, conv)
	dst = append(dst, 'e')
	return binary.BigEndian.AppendUint64(dst, seq)
}

func dedupKey(dst []byte, g shard.GroupID, conv, h uint64) []byte {
	dst = entryKey(dst, g, conv, h)
	dst[len(dst)-9] = 'd'
	return dst
}

func openState(tb testing.TB, dir string, o store.StateOptions) *store.State {
	tb.Helper()
	s, err := store.OpenState(dir, o)
	if err != nil {
		tb.Fatalf("OpenState = %v", err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Errorf("Close = %v", err)
		}
	})
	return s
}

func group(tb testing.TB, s *store.State, id shard.GroupID) *store.GroupState {
	tb.Helper()
	g, err := s.Group(id)
	if err != nil {
		tb.Fatalf("Group = %v", err)
	}
	return g
}

// fill writes n messages of 256 bytes over convs conversations in batches of 64:
// per message one entry row and one small dedup row.
func fill(tb testing.TB, g *store.GroupState, convs, n uint64) {
	tb.Helper()
	body := make([]byte, 340)
	var key []byte
	index, _ := g.Applied()
	rng := rand.New(rand.NewPCG(index, uint64(g.ID())))
	for i, end := index*64, index*64+n; i < end; { // the number of a message is higher than all before
		b := g.Begin()
		for range min(64, end-i) {
			for j := range body[:256] {
				body[j] = "etaoinshrdlu etaoin qwertyuiopasdfghjklzxcvbnm"[rng.IntN(46)]
			}
			binary.BigEndian.PutUint64(body[256:], rng.Uint64())
			conv := rng.Uint64N(convs)
			key = entryKey(key, g.ID(), conv, i)
			if err := b.Set(key, body); err != nil {
				tb.Fatalf("Set = %v", err)
			}
			key = dedupKey(key, g.ID(), conv, rng.Uint64())
			if err := b.Set(key, body[300:324]); err != nil {
				tb.Fatalf("Set = %v", err)
			}
			i++
		}
		index++
		if err := b.Commit(index, 1); err != nil {
			tb.Fatalf("Commit = %v", err)
		}
	}
}

func cpuNow() time.Duration {
	var ru syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ru); err != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func written() int64 {
	var ru syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &ru)
	return ru.Oublock * 512
}

// BenchmarkApply commits messages in batches of 64 and counts, per message, all
// processor time and bytes, those of flushes and compactions included.
func BenchmarkApply(b *testing.B) {
	for _, mode := range []struct {
		name  string
		bytes int64
	}{{"64 MB", 64 << 20}, {"128 MB", 128 << 20}} {
		b.Run(mode.name, func(b *testing.B) {
			b.ReportAllocs()
			s := openState(b, b.TempDir(), store.StateOptions{BufferBytes: mode.bytes})
			cpu, disk := cpuNow(), written()
			b.ResetTimer()
			const rounds = 64 // the groups grow side by side
			for range rounds {
				for id := range shard.GroupID(8) {
					fill(b, group(b, s, id), 500, uint64(b.N/8/rounds+1))
				}
			}
			for id := range shard.GroupID(8) {
				if err := group(b, s, id).Barrier(); err != nil {
					b.Fatal(err)
				}
			}
			b.StopTimer()
			b.ReportMetric(float64((cpuNow()-cpu).Nanoseconds())/float64(b.N), "cpu-ns/op")
			b.ReportMetric(float64(written()-disk)/float64(b.N*256), "disk-B/B")
		})
	}
}

// BenchmarkPage reads the newest 50 entries of a random conversation.
func BenchmarkPage(b *testing.B) {
	for name, flushed := range map[string]bool{"in tables": true, "in memory": false} {
		b.Run(name, func(b *testing.B) {
			g := group(b, openState(b, b.TempDir(), store.StateOptions{BufferBytes: 512 << 20}), 1)
			fill(b, g, 1000, 200_000)
			if flushed {
				if err := g.Barrier(); err != nil {
					b.Fatal(err)
				}
			}
			rng := rand.New(rand.NewPCG(1, 2))
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				if err := page(g, rng.Uint64N(1000)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func page(g *store.GroupState, conv uint64) error {
	v, err := g.View()
	if err != nil {
		return err
	}
	defer v.Close()
	n := 0
	err = v.Scan(entryKey(make([]byte, 0, 40), 1, conv, 0), entryKey(make([]byte, 0, 40), 1, conv, 1<<62), true, func(k, val []byte) (bool, error) {
		n++
		return n < 50, nil
	})
	if err == nil && n != 50 {
		err = fmt.Errorf("page of %d rows", n)
	}
	return err
}

// BenchmarkSnapshot streams a group into another state.
func BenchmarkSnapshot(b *testing.B) {
	src := group(b, openState(b, b.TempDir(), store.StateOptions{}), 1)
	fill(b, src, 1000, 200_000)
	dst := group(b, openState(b, b.TempDir(), store.StateOptions{}), 1)
	snap, err := src.Snapshot()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(snap.Header().Size))
	if err := snap.Close(); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		if err := transfer(src, dst); err != nil {
			b.Fatal(err)
		}
	}
}

func transfer(src, dst *store.GroupState) error {
	snap, err := src.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	in, err := dst.NewInstall()
	if err != nil {
		return err
	}
	defer in.Abort()
	n, err := io.Copy(in, snap)
	if err != nil {
		return err
	}
	if uint64(n) != snap.Header().Size {
		return fmt.Errorf("stream of %d bytes, header says %d", n, snap.Header().Size)
	}
	return in.Commit()
}

// BenchmarkLargeBatch fills batches of the size that the largest entries make, of
// many groups in turn; one operation is a batch of 1 MiB.
func BenchmarkLargeBatch(b *testing.B) {
	s := openState(b, b.TempDir(), store.StateOptions{})
	const groups, rows = 64, 1 << 10
	body := make([]byte, 1<<10)
	var key []byte
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i++ {
		g := group(b, s, shard.GroupID(i%groups))
		batch := g.Begin()
		for row := range uint64(rows) {
			key = entryKey(key, g.ID(), row, 1)
			if err := batch.Set(key, body); err != nil {
				b.Fatal(err)
			}
		}
		batch.Close() // what a commit keeps in memory is not what is measured
	}
}
